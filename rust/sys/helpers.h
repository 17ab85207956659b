/* SPDX-License-Identifier: GPL-2.0 */
/* Static inlines, macros and statics of the kernel's headers, as functions that Rust can call. */
#ifndef _CTRFW_HELPERS_H
#define _CTRFW_HELPERS_H

#include <linux/jump_label.h>
#include <linux/types.h>

struct net;
struct net_device;
struct nf_hook_state;
struct sk_buff;
struct sock;
struct task_struct;

/* A per-CPU counter of packets and bytes. */
struct ctrfw_counter {
	u64 packets;
	u64 bytes;
};

/* A static key in a structure, as Rust's static_branch_unlikely!() wants it. */
struct ctrfw_static_key {
	struct static_key_false key;
};

extern struct ctrfw_static_key ctrfw_trace_key;

void ctrfw_trace_key_set(bool on);

const char *ctrfw_netdev_name(const struct net_device *dev);

struct net_device *ctrfw_skb_dev(const struct sk_buff *skb);
u32 ctrfw_skb_mark(const struct sk_buff *skb);
int ctrfw_skb_network_offset(const struct sk_buff *skb);
bool ctrfw_skb_pull(struct sk_buff *skb, unsigned int end);

bool ctrfw_nf_bridge_repeats(const struct sk_buff *skb, struct net *net);
struct net_device *ctrfw_nf_bridge_physindev(const struct sk_buff *skb,
					     struct net *net);
struct net_device *ctrfw_nf_bridge_physoutdev(const struct sk_buff *skb);

bool ctrfw_skb_bridged(const struct sk_buff *skb);

/* What netfilter answers with; each function's module is held. */
struct ctrfw_reject {
	void (*reset4)(struct net *net, struct sock *sk, struct sk_buff *skb,
		       int hook);
	void (*reset6)(struct net *net, struct sock *sk, struct sk_buff *skb,
		       int hook);
	void (*unreach4)(struct sk_buff *skb, int code, int hook);
	void (*unreach6)(struct net *net, struct sk_buff *skb,
			 unsigned char code, unsigned int hook);
};

bool ctrfw_reject_get(struct ctrfw_reject *reject);
void ctrfw_reject_put(void);
void ctrfw_reject_reset(const struct ctrfw_reject *reject, struct sk_buff *skb,
			const struct nf_hook_state *state);
void ctrfw_reject_unreach(const struct ctrfw_reject *reject,
			  struct sk_buff *skb,
			  const struct nf_hook_state *state, u8 code);

struct ctrfw_counter __percpu *ctrfw_counters_alloc(size_t count);
void ctrfw_counter_add(struct ctrfw_counter __percpu *counter, u64 bytes);
struct ctrfw_counter ctrfw_counter_sum(const struct ctrfw_counter __percpu *counter);
unsigned int ctrfw_num_possible_cpus(void);

void ctrfw_synchronize_rcu_expedited(void);
void *ctrfw_rcu_xchg(void **slot, void *new);

bool ctrfw_current_in_init_net(void);
bool ctrfw_task_killed(const struct task_struct *task);
bool ctrfw_current_is_killed(void);

extern unsigned int ctrfw_net_id;

bool *ctrfw_net_hooked(const struct net *net);
bool ctrfw_net_has_addr4(struct net *net, const struct net_device *dev,
			 u32 addr, bool shared);
bool ctrfw_net_has_addr6(struct net *net, const u8 *addr, bool shared);

int ctrfw_hash_pointer(char *buf, size_t size, const void *ptr);

#endif /* _CTRFW_HELPERS_H */
