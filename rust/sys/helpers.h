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

/* A static key in a structure, as Rust's static_branch_unlikely!() wants it. */
struct ctrfw_static_key {
	struct static_key_false key;
};

extern struct ctrfw_static_key ctrfw_trace_key;

void ctrfw_trace_key_set(bool on);

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

bool ctrfw_queue_load(void);

/* Functions of nf_conntrack, which is held; their types are those of its header. */
struct ctrfw_ct {
	void *netns_get;
	void *netns_put;
	void *get_tuple;
	void *invert_tuple;
	void *find_get;
};

bool ctrfw_ct_get(struct ctrfw_ct *ct);
void ctrfw_ct_put(void);
int ctrfw_ct_netns_get(const struct ctrfw_ct *ct, struct net *net);
void ctrfw_ct_netns_put(const struct ctrfw_ct *ct, struct net *net);

#define CTRFW_FLOW_NONE		0
#define CTRFW_FLOW_UNTRACKED	1
#define CTRFW_FLOW_INVALID	2
#define CTRFW_FLOW_NEW		3
#define CTRFW_FLOW_ESTABLISHED	4
#define CTRFW_FLOW_RELATED	5

/* What connection tracking knows of a packet; from reply on, of its connection. */
struct ctrfw_flow {
	u8 kind;
	bool reply;
	bool over;
	bool ipv4;
	bool has_port;
	u16 port;
	u8 to[16];
};

void ctrfw_skb_flow(const struct sk_buff *skb, const struct net *net,
		    struct ctrfw_flow *flow);
void ctrfw_ct_find(const struct ctrfw_ct *ct, struct sk_buff *skb,
		   struct net *net, u8 pf, u32 quoted, struct ctrfw_flow *flow);

/* netfilter's functions that look sockets up; each one's module is held. */
struct ctrfw_sk_lookup {
	struct sock *(*find4)(struct net *net, const struct sk_buff *skb,
			      const struct net_device *indev);
	struct sock *(*find6)(struct net *net, const struct sk_buff *skb,
			      const struct net_device *indev);
};

bool ctrfw_sk_lookup_get(struct ctrfw_sk_lookup *lookup);
void ctrfw_sk_lookup_put(void);

int ctrfw_cgroup_find(const char *path, size_t len, int *level, u64 *number);
bool ctrfw_sender_cgroups(const struct sk_buff *skb, const struct net *net,
			  u64 *numbers, int max);
int ctrfw_receiver_cgroups(const struct ctrfw_sk_lookup *lookup, struct sk_buff *skb,
			   const struct nf_hook_state *state, u64 *numbers, int max);

void *ctrfw_pages_alloc(size_t size);
void ctrfw_pages_free(void *pages, size_t size);

bool ctrfw_cpu_possible(unsigned int cpu);
unsigned int ctrfw_get_cpu(void);
void ctrfw_put_cpu(void);

u64 ctrfw_local_clock(void);

struct task_struct *ctrfw_thread_start(void (*run)(void), const char *name);
void ctrfw_thread_stop(struct task_struct *task);

void ctrfw_synchronize_rcu_expedited(void);
void *ctrfw_rcu_xchg(void **slot, void *new);

bool ctrfw_current_in_init_net(void);
bool ctrfw_task_killed(const struct task_struct *task);
bool ctrfw_current_is_killed(void);
void ctrfw_cond_resched(void);

bool ctrfw_module_get(void);
void ctrfw_module_put(void);

extern unsigned int ctrfw_net_id;

bool *ctrfw_net_hooked(const struct net *net);
bool *ctrfw_net_flag(const struct net *net, unsigned int id);
bool ctrfw_net_has_addr4(struct net *net, const struct net_device *dev,
			 u32 addr, bool shared);
bool ctrfw_net_has_addr6(struct net *net, const u8 *addr, bool shared);

int ctrfw_hash_pointer(char *buf, size_t size, const void *ptr);

#endif /* _CTRFW_HELPERS_H */
