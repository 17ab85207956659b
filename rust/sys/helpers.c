// SPDX-License-Identifier: GPL-2.0
/* Static inlines, macros and statics of the kernel's headers, as functions that Rust can call. */
#include <linux/cpumask.h>
#include <linux/netdevice.h>
#include <linux/netfilter_bridge.h>
#include <linux/nsproxy.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched/signal.h>
#include <linux/skbuff.h>
#include <linux/sprintf.h>
#include <net/net_namespace.h>

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

bool ctrfw_netif_is_l3(const struct net_device *dev)
{
	return netif_is_l3_master(dev) || netif_is_l3_slave(dev);
}

struct net_device *ctrfw_skb_dev(const struct sk_buff *skb)
{
	return skb->dev;
}

int ctrfw_skb_network_offset(const struct sk_buff *skb)
{
	return skb_network_offset(skb);
}

/*
 * Whether br_netfilter had the packet pass PRE_ROUTING already: the condition
 * under which its ip_sabotage_in() keeps the packet from later hooks.
 */
bool ctrfw_nf_bridge_repeats(const struct sk_buff *skb)
{
#if IS_ENABLED(CONFIG_BRIDGE_NETFILTER)
	const struct nf_bridge_info *nf_bridge = nf_bridge_info_get(skb);

	return nf_bridge && !nf_bridge->in_prerouting &&
	       !nf_bridge->sabotage_in_done;
#else
	return false;
#endif
}

struct net_device *ctrfw_nf_bridge_physindev(const struct sk_buff *skb,
					     struct net *net)
{
#if IS_ENABLED(CONFIG_BRIDGE_NETFILTER)
	return nf_bridge_get_physindev(skb, net);
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

struct ctrfw_counter __percpu *ctrfw_counters_alloc(size_t count)
{
	return __alloc_percpu(array_size(count, sizeof(struct ctrfw_counter)),
			      __alignof__(struct ctrfw_counter));
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

/* Whether the current task is exiting because a signal killed it. */
bool ctrfw_current_killed(void)
{
	return (current->flags & PF_EXITING) &&
	       (READ_ONCE(current->signal->group_exit_code) & 0x7f);
}

int ctrfw_hash_pointer(char *buf, size_t size, const void *ptr)
{
	return scnprintf(buf, size, "%p", ptr);
}
