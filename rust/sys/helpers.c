// SPDX-License-Identifier: GPL-2.0
/* Static inlines, macros and statics of the kernel's headers, as functions that Rust can call. */
#include <linux/bottom_half.h>
#include <linux/cpumask.h>
#include <linux/inetdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netfilter_bridge.h>
#include <linux/netfilter_ipv6.h>
#include <linux/nsproxy.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/skbuff.h>
#include <linux/sprintf.h>
#include <net/addrconf.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/net_namespace.h>
#include <net/netfilter/ipv4/nf_reject.h>
#include <net/netfilter/ipv6/nf_reject.h>
#include <net/netns/generic.h>
#include <net/route.h>

#include "helpers.h"

struct ctrfw_static_key ctrfw_trace_key = { .key = STATIC_KEY_FALSE_INIT };

void ctrfw_trace_key_set(bool on)
{
	if (on)
		static_branch_enable(&ctrfw_trace_key.key);
	else
		static_branch_disable(&ctrfw_trace_key.key);
}

const char *ctrfw_netdev_name(const struct net_device *dev)
{
	return dev->name;
}

struct net_device *ctrfw_skb_dev(const struct sk_buff *skb)
{
	return skb->dev;
}

u32 ctrfw_skb_mark(const struct sk_buff *skb)
{
	return skb->mark;
}

int ctrfw_skb_network_offset(const struct sk_buff *skb)
{
	return skb_network_offset(skb);
}

/*
 * Makes the first bytes of the data linear, so that nobody else can change them
 * any more. Linux 7.3 copies pages that a sender has mapped (PACKET_TX_RING)
 * before another namespace gets them; older kernels do not.
 */
bool ctrfw_skb_pull(struct sk_buff *skb, unsigned int end)
{
	return !skb_shared(skb) && pskb_may_pull(skb, end);
}

/*
 * Whether br_netfilter had the packet pass PRE_ROUTING of this namespace
 * already, on the bridge. A VRF's own passage is not such a repetition, nor is
 * one in another namespace, which the mark outlives where a macvlan, ipvlan or
 * VLAN device on the bridge was moved there.
 */
bool ctrfw_nf_bridge_repeats(const struct sk_buff *skb, struct net *net)
{
#if IS_ENABLED(CONFIG_BRIDGE_NETFILTER)
	const struct nf_bridge_info *nf_bridge = nf_bridge_info_get(skb);
	struct net_device *port, *bridge;

	if (likely(!nf_bridge) || nf_bridge->in_prerouting ||
	    nf_bridge->sabotage_in_done || netif_is_l3_master(skb->dev))
		return false;
	port = nf_bridge_get_physindev(skb, net);
	bridge = port ? netdev_master_upper_dev_get_rcu(port) : NULL;
	return bridge && netif_is_bridge_master(bridge) &&
	       (skb->dev == bridge ||
		netdev_has_upper_dev_all_rcu(bridge, skb->dev));
#else
	return false;
#endif
}

struct net_device *ctrfw_nf_bridge_physindev(const struct sk_buff *skb,
					     struct net *net)
{
#if IS_ENABLED(CONFIG_BRIDGE_NETFILTER)
	struct net_device *port = nf_bridge_get_physindev(skb, net);

	/* The index may be another namespace's. */
	return port && netif_is_bridge_port(port) ? port : NULL;
#else
	return NULL;
#endif
}

struct net_device *ctrfw_nf_bridge_physoutdev(const struct sk_buff *skb)
{
#if IS_ENABLED(CONFIG_BRIDGE_NETFILTER)
	return nf_bridge_get_physoutdev(skb);
#else
	return NULL;
#endif
}

/* Whether the packet came by a bridge, as far as br_netfilter noted that. */
bool ctrfw_skb_bridged(const struct sk_buff *skb)
{
#if IS_ENABLED(CONFIG_BRIDGE_NETFILTER)
	return nf_bridge_info_exists(skb);
#else
	return false;
#endif
}

/*
 * Takes netfilter's functions, and holds their modules, which are loaded if
 * they are not there yet; all of them or none. By name: nothing is linked
 * against them, so the module loads without them.
 */
bool ctrfw_reject_get(struct ctrfw_reject *reject)
{
	reject->reset4 = symbol_request(nf_send_reset);
	if (!reject->reset4)
		return false;
	reject->unreach4 = symbol_request(nf_send_unreach);
	if (!reject->unreach4)
		goto put_reset4;
	reject->reset6 = symbol_request(nf_send_reset6);
	if (!reject->reset6)
		goto put_unreach4;
	reject->unreach6 = symbol_request(nf_send_unreach6);
	if (!reject->unreach6)
		goto put_reset6;
	return true;

put_reset6:
	symbol_put(nf_send_reset6);
put_unreach4:
	symbol_put(nf_send_unreach);
put_reset4:
	symbol_put(nf_send_reset);
	return false;
}

void ctrfw_reject_put(void)
{
	symbol_put(nf_send_reset);
	symbol_put(nf_send_unreach);
	symbol_put(nf_send_reset6);
	symbol_put(nf_send_unreach6);
}

/*
 * Whether sender and receiver are such that an answer may go between them.
 *
 * netfilter's functions rely on the routing code having seen to that, which at
 * PRE_ROUTING it has not. Somebody on the wire who takes one of our own
 * addresses must not have us answer ourselves.
 */
static bool ctrfw_reject_unicast(const struct sk_buff *skb,
				 const struct nf_hook_state *state)
{
	bool foreign = ctrfw_skb_bridged(skb) ||
		       (state->in && !(state->in->flags & IFF_LOOPBACK));

	if (skb->pkt_type != PACKET_HOST)
		return false;
	if (state->pf == NFPROTO_IPV4) {
		const struct iphdr *iph = ip_hdr(skb);
		unsigned int from = inet_addr_type(state->net, iph->saddr);
		unsigned int to = inet_addr_type(state->net, iph->daddr);

		return (from == RTN_UNICAST || (from == RTN_LOCAL && !foreign)) &&
		       (to == RTN_UNICAST || to == RTN_LOCAL);
	}
#if IS_ENABLED(CONFIG_IPV6)
	if (state->pf == NFPROTO_IPV6) {
		const struct ipv6hdr *iph = ipv6_hdr(skb);
		int from = ipv6_addr_type(&iph->saddr);

		return (from & IPV6_ADDR_UNICAST) &&
		       (ipv6_addr_type(&iph->daddr) & IPV6_ADDR_UNICAST) &&
		       !(foreign && ((from & IPV6_ADDR_LOOPBACK) ||
				     ipv6_chk_addr(state->net, &iph->saddr,
						   NULL, 0)));
	}
#endif
	return false;
}

/* Makes of what is about to be dropped what netfilter's functions expect. */
static bool ctrfw_reject_prepare(struct sk_buff *skb,
				 const struct nf_hook_state *state)
{
	if (!ctrfw_reject_unicast(skb, state))
		return false;
#if IS_ENABLED(CONFIG_BRIDGE_NETFILTER)
	if (nf_bridge_info_exists(skb)) {
		/*
		 * A reset leaves by the port that the mark names. Where the
		 * port's index is of another namespace, it is no mark for us.
		 */
		if (!ctrfw_nf_bridge_physindev(skb, state->net))
			skb_ext_del(skb, SKB_EXT_BRIDGE_NF);
		/* On a bridge it is anybody's; ICMP looks for options here. */
		memset(skb->cb, 0, sizeof(skb->cb));
	}
#endif
	return true;
}

/*
 * Whether an answer is being made on this CPU. An answer passes our hooks
 * itself, on the stack of the hook that it is made in: it is judged there, but
 * not answered, so that the stack has an end.
 */
static DEFINE_PER_CPU(bool, ctrfw_answering);

/* Nothing else runs on the CPU's stack of the network until the end. */
static bool ctrfw_answer_begin(void)
{
	local_bh_disable();
	if (__this_cpu_read(ctrfw_answering)) {
		local_bh_enable();
		return false;
	}
	__this_cpu_write(ctrfw_answering, true);
	return true;
}

static void ctrfw_answer_end(void)
{
	__this_cpu_write(ctrfw_answering, false);
	local_bh_enable();
}

void ctrfw_reject_reset(const struct ctrfw_reject *reject, struct sk_buff *skb,
			const struct nf_hook_state *state)
{
	if (!ctrfw_answer_begin())
		return;
	if (ctrfw_reject_prepare(skb, state)) {
		if (state->pf == NFPROTO_IPV4)
			reject->reset4(state->net, state->sk, skb, state->hook);
		else
			reject->reset6(state->net, state->sk, skb, state->hook);
	}
	ctrfw_answer_end();
}

void ctrfw_reject_unreach(const struct ctrfw_reject *reject,
			  struct sk_buff *skb,
			  const struct nf_hook_state *state, u8 code)
{
	if (!ctrfw_answer_begin())
		return;
	if (ctrfw_reject_prepare(skb, state)) {
		if (state->pf == NFPROTO_IPV4)
			reject->unreach4(skb, code, state->hook);
		else
			reject->unreach6(state->net, skb, code, state->hook);
	}
	ctrfw_answer_end();
}

struct ctrfw_counter __percpu *ctrfw_counters_alloc(size_t count)
{
	return __alloc_percpu_gfp(array_size(count, sizeof(struct ctrfw_counter)),
				  __alignof__(struct ctrfw_counter),
				  GFP_KERNEL | __GFP_NOWARN);
}

void ctrfw_counter_add(struct ctrfw_counter __percpu *counter, u64 bytes)
{
	this_cpu_inc(counter->packets);
	this_cpu_add(counter->bytes, bytes);
}

struct ctrfw_counter ctrfw_counter_sum(const struct ctrfw_counter __percpu *counter)
{
	struct ctrfw_counter sum = {};
	int cpu;

	for_each_possible_cpu(cpu) {
		const struct ctrfw_counter *here = per_cpu_ptr(counter, cpu);

		sum.packets += READ_ONCE(here->packets);
		sum.bytes += READ_ONCE(here->bytes);
	}
	return sum;
}

unsigned int ctrfw_num_possible_cpus(void)
{
	return num_possible_cpus();
}

void ctrfw_synchronize_rcu_expedited(void)
{
	synchronize_rcu_expedited();
}

void *ctrfw_rcu_xchg(void **slot, void *new)
{
	return xchg(slot, new);
}

bool ctrfw_current_in_init_net(void)
{
	return current->nsproxy && net_eq(current->nsproxy->net_ns, &init_net);
}

/* Whether a signal killed the task, or is doing so. */
bool ctrfw_task_killed(const struct task_struct *task)
{
	/* The signal structure lives as long as the task's. */
	return (READ_ONCE(task->signal->flags) & SIGNAL_GROUP_EXIT) &&
	       (READ_ONCE(task->signal->group_exit_code) & 0x7f);
}

bool ctrfw_current_is_killed(void)
{
	return fatal_signal_pending(current);
}

unsigned int ctrfw_net_id;

/* Whether the hooks are in the namespace. */
bool *ctrfw_net_hooked(const struct net *net)
{
	return net_generic(net, ctrfw_net_id);
}

/*
 * Whether the address, in network order, is one of the namespace's own; with
 * shared, also broadcast and multicast. The device may be NULL or in a VRF.
 */
bool ctrfw_net_has_addr4(struct net *net, const struct net_device *dev,
			 u32 addr, bool shared)
{
	switch (inet_addr_type_dev_table(net, dev, (__force __be32)addr)) {
	case RTN_LOCAL:
		return true;
	case RTN_BROADCAST:
	case RTN_MULTICAST:
		return shared;
	default:
		return false;
	}
}

bool ctrfw_net_has_addr6(struct net *net, const u8 *addr, bool shared)
{
	struct in6_addr in6;

	memcpy(&in6, addr, sizeof(in6));
	if (ipv6_addr_is_multicast(&in6))
		return shared;
	return nf_ipv6_chk_addr(net, &in6, NULL, 0);
}

int ctrfw_hash_pointer(char *buf, size_t size, const void *ptr)
{
	return scnprintf(buf, size, "%p", ptr);
}
