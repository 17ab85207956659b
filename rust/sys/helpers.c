// SPDX-License-Identifier: GPL-2.0
/* Static inlines, macros and statics of the kernel's headers, as functions that Rust can call. */
#include <linux/bottom_half.h>
#include <linux/cgroup.h>
#include <linux/cpumask.h>
#include <linux/gfp.h>
#include <linux/inetdevice.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/kmemleak.h>
#include <linux/kmod.h>
#include <linux/kthread.h>
#include <linux/module.h>
#include <linux/netdevice.h>
#include <linux/netfilter_bridge.h>
#include <linux/netfilter_ipv6.h>
#include <linux/nsproxy.h>
#include <linux/percpu.h>
#include <linux/rcupdate.h>
#include <linux/sched/clock.h>
#include <linux/sched/signal.h>
#include <linux/skbuff.h>
#include <linux/sprintf.h>
#include <linux/vmalloc.h>
#include <net/addrconf.h>
#include <net/inet6_hashtables.h>
#include <net/inet_hashtables.h>
#include <net/inet_sock.h>
#include <net/ip.h>
#include <net/ipv6.h>
#include <net/net_namespace.h>
#include <net/netfilter/ipv4/nf_reject.h>
#include <net/netfilter/ipv6/nf_reject.h>
#include <net/netfilter/nf_conntrack.h>
#include <net/netfilter/nf_conntrack_core.h>
#include <net/netfilter/nf_conntrack_zones.h>
#include <net/netfilter/nf_socket.h>
#include <net/netns/generic.h>
#include <net/route.h>
#include <net/sock.h>

#include "helpers.h"

struct ctrfw_static_key ctrfw_trace_key = { .key = STATIC_KEY_FALSE_INIT };

void ctrfw_trace_key_set(bool on)
{
	if (on)
		static_branch_enable(&ctrfw_trace_key.key);
	else
		static_branch_disable(&ctrfw_trace_key.key);
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

/* It exports nothing: no symbol tells whether it is there. */
bool ctrfw_queue_load(void)
{
	return IS_BUILTIN(CONFIG_NETFILTER_NETLINK_QUEUE) ||
	       !request_module("nfnetlink_queue");
}

/* Where the transport header begins, or less than 0. */
static int ctrfw_transport_offset(const struct sk_buff *skb, u8 pf)
{
	int offset = skb_network_offset(skb);
	__be16 frag_off;
	u8 next;

	if (pf == NFPROTO_IPV4)
		return offset + ip_hdrlen(skb);
	next = ipv6_hdr(skb)->nexthdr;
	return ipv6_skip_exthdr(skb, offset + sizeof(struct ipv6hdr), &next, &frag_off);
}

#if IS_ENABLED(CONFIG_NF_CONNTRACK)

#define CTRFW_CT_CALL(function, name) ((typeof(&(name)))(function))

/* By name, as for ctrfw_reject_get(). */
bool ctrfw_ct_get(struct ctrfw_ct *ct)
{
	ct->netns_get = symbol_get(nf_ct_netns_get);
	if (!ct->netns_get) {
		request_module("nf_conntrack");
		ct->netns_get = symbol_get(nf_ct_netns_get);
	}
	if (!ct->netns_get)
		return false;
	ct->netns_put = symbol_get(nf_ct_netns_put);
	if (!ct->netns_put)
		goto put_netns_get;
	ct->get_tuple = symbol_get(nf_ct_get_tuplepr);
	if (!ct->get_tuple)
		goto put_netns_put;
	ct->invert_tuple = symbol_get(nf_ct_invert_tuple);
	if (!ct->invert_tuple)
		goto put_get_tuple;
	ct->find_get = symbol_get(nf_conntrack_find_get);
	if (!ct->find_get)
		goto put_invert_tuple;
	return true;

put_invert_tuple:
	symbol_put(nf_ct_invert_tuple);
put_get_tuple:
	symbol_put(nf_ct_get_tuplepr);
put_netns_put:
	symbol_put(nf_ct_netns_put);
put_netns_get:
	symbol_put(nf_ct_netns_get);
	return false;
}

void ctrfw_ct_put(void)
{
	symbol_put(nf_ct_netns_get);
	symbol_put(nf_ct_netns_put);
	symbol_put(nf_ct_get_tuplepr);
	symbol_put(nf_ct_invert_tuple);
	symbol_put(nf_conntrack_find_get);
}

int ctrfw_ct_netns_get(const struct ctrfw_ct *ct, struct net *net)
{
	return CTRFW_CT_CALL(ct->netns_get, nf_ct_netns_get)(net, NFPROTO_INET);
}

void ctrfw_ct_netns_put(const struct ctrfw_ct *ct, struct net *net)
{
	CTRFW_CT_CALL(ct->netns_put, nf_ct_netns_put)(net, NFPROTO_INET);
}

static void ctrfw_flow_fill(struct ctrfw_flow *flow, const struct nf_conn *conn,
			    enum ip_conntrack_info info)
{
	const struct nf_conntrack_tuple *original = nf_ct_tuple(conn, IP_CT_DIR_ORIGINAL);
	u8 proto = original->dst.protonum;

	switch (info) {
	case IP_CT_ESTABLISHED:
	case IP_CT_ESTABLISHED_REPLY:
		flow->kind = CTRFW_FLOW_ESTABLISHED;
		break;
	case IP_CT_RELATED:
	case IP_CT_RELATED_REPLY:
		flow->kind = CTRFW_FLOW_RELATED;
		break;
	default:
		flow->kind = CTRFW_FLOW_NEW;
	}
	flow->reply = CTINFO2DIR(info) == IP_CT_DIR_REPLY;
	if (proto == IPPROTO_TCP) {
		u8 state = READ_ONCE(conn->proto.tcp.state);

		flow->over = state == TCP_CONNTRACK_TIME_WAIT ||
			     state == TCP_CONNTRACK_CLOSE;
	}
	flow->ipv4 = original->src.l3num == NFPROTO_IPV4;
	memcpy(flow->to, &original->dst.u3, sizeof(flow->to));
	flow->has_port = proto == IPPROTO_TCP || proto == IPPROTO_UDP ||
			 (IS_ENABLED(CONFIG_NF_CT_PROTO_SCTP) && proto == IPPROTO_SCTP);
	flow->port = ntohs(original->dst.u.all);
}

/* What goes with the packet, if it was found out in this namespace. */
void ctrfw_skb_flow(const struct sk_buff *skb, const struct net *net,
		    struct ctrfw_flow *flow)
{
	enum ip_conntrack_info info;
	const struct nf_conn *conn = nf_ct_get(skb, &info);

	if (!conn)
		flow->kind = info == IP_CT_UNTRACKED ? CTRFW_FLOW_UNTRACKED : CTRFW_FLOW_NONE;
	else if (!nf_ct_is_template(conn) && net_eq(nf_ct_net(conn), net))
		ctrfw_flow_fill(flow, conn, info);
}

/*
 * Whether an error that quotes a packet goes to where that came from: if not,
 * it is not the connection's. See nf_conntrack_inet_error().
 */
static bool ctrfw_error_fits(const struct sk_buff *skb, u8 pf,
			     const struct nf_conntrack_tuple *tuple)
{
	if (pf == NFPROTO_IPV4)
		return ip_hdr(skb)->daddr == tuple->dst.u3.ip;
	return ipv6_addr_equal(&ipv6_hdr(skb)->daddr, &tuple->dst.u3.in6);
}

/*
 * Looks for the packet's connection as nf_conntrack_in() does, but makes none,
 * and changes none; or for the connection of the packet that an ICMP error
 * quotes, so far behind the beginning of the ICMP header. The zone is always
 * the default one: zones are assigned by rules behind our hooks.
 */
void ctrfw_ct_find(const struct ctrfw_ct *ct, struct sk_buff *skb,
		   struct net *net, u8 pf, u32 quoted, struct ctrfw_flow *flow)
{
	struct nf_conntrack_tuple tuple, inverse;
	int transport = ctrfw_transport_offset(skb, pf);
	int start = quoted ? transport + (int)quoted : skb_network_offset(skb);
	struct nf_conntrack_tuple_hash *hash;
	struct nf_conntrack_zone zone;
	enum ip_conntrack_info info;
	struct nf_conn *conn;

	flow->kind = CTRFW_FLOW_INVALID;
	/* What is judged is what is delivered: all that is read here, but for strange packets. */
	if (transport < 0 ||
	    !ctrfw_skb_pull(skb, min_t(unsigned int, skb->len, max(transport, start) + 64)))
		return;
	if (!CTRFW_CT_CALL(ct->get_tuple, nf_ct_get_tuplepr)(skb, start, pf, net, &tuple))
		return;
	if (quoted) {
		if (!CTRFW_CT_CALL(ct->invert_tuple, nf_ct_invert_tuple)(&inverse, &tuple))
			return;
		tuple = inverse;
	}
	flow->kind = CTRFW_FLOW_NONE;
	nf_ct_zone_init(&zone, NF_CT_DEFAULT_ZONE_ID, NF_CT_DEFAULT_ZONE_DIR, 0);
	hash = CTRFW_CT_CALL(ct->find_get, nf_conntrack_find_get)(net, &zone, &tuple);
	if (!hash)
		return;
	conn = nf_ct_tuplehash_to_ctrack(hash);
	if (quoted) {
		info = NF_CT_DIRECTION(hash) == IP_CT_DIR_REPLY ? IP_CT_RELATED_REPLY : IP_CT_RELATED;
		if (!ctrfw_error_fits(skb, pf, nf_ct_tuple(conn, NF_CT_DIRECTION(hash))))
			goto out;
	} else if (NF_CT_DIRECTION(hash) == IP_CT_DIR_REPLY) {
		info = IP_CT_ESTABLISHED_REPLY;
	} else {
		unsigned long status = READ_ONCE(conn->status);

		info = status & IPS_SEEN_REPLY ? IP_CT_ESTABLISHED :
		       status & IPS_EXPECTED ? IP_CT_RELATED : IP_CT_NEW;
	}
	ctrfw_flow_fill(flow, conn, info);
out:
	nf_conntrack_put(&conn->ct_general);
}

#else /* CONFIG_NF_CONNTRACK */

bool ctrfw_ct_get(struct ctrfw_ct *ct)
{
	return false;
}

void ctrfw_ct_put(void)
{
}

int ctrfw_ct_netns_get(const struct ctrfw_ct *ct, struct net *net)
{
	return -EOPNOTSUPP;
}

void ctrfw_ct_netns_put(const struct ctrfw_ct *ct, struct net *net)
{
}

void ctrfw_skb_flow(const struct sk_buff *skb, const struct net *net,
		    struct ctrfw_flow *flow)
{
}

void ctrfw_ct_find(const struct ctrfw_ct *ct, struct sk_buff *skb,
		   struct net *net, u8 pf, u32 quoted, struct ctrfw_flow *flow)
{
}

#endif /* CONFIG_NF_CONNTRACK */

/* By name, as for ctrfw_reject_get(). */
bool ctrfw_sk_lookup_get(struct ctrfw_sk_lookup *lookup)
{
	lookup->find4 = symbol_request(nf_sk_lookup_slow_v4);
	if (!lookup->find4)
		return false;
	lookup->find6 = symbol_request(nf_sk_lookup_slow_v6);
	if (!lookup->find6) {
		symbol_put(nf_sk_lookup_slow_v4);
		return false;
	}
	return true;
}

void ctrfw_sk_lookup_put(void)
{
	symbol_put(nf_sk_lookup_slow_v4);
	symbol_put(nf_sk_lookup_slow_v6);
}

#ifdef CONFIG_SOCK_CGROUP_DATA

/* Sleeps. The reference is not kept: a number is not used again. */
int ctrfw_cgroup_find(const char *path, size_t len, int *level, u64 *number)
{
	struct cgroup *cgroup;
	char *copy;

	/* Whoever exits has no cgroup namespace any more: the path would be the root's. */
	if (!current->nsproxy)
		return -ESRCH;
	copy = kmemdup_nul(path, len, GFP_KERNEL);
	if (!copy)
		return -ENOMEM;
	cgroup = cgroup_get_from_path(copy);
	kfree(copy);
	if (IS_ERR(cgroup))
		return PTR_ERR(cgroup);
	*level = cgroup->level;
	*number = cgroup_id(cgroup);
	cgroup_put(cgroup);
	return 0;
}

/*
 * The numbers of the cgroup that the socket was made in, and of those that it
 * is in, but for the root; no more than max. Sockets that the kernel has for
 * itself, for resets and neighbour discovery say, are in none; those that it
 * makes for a process (MPTCP) hold their namespace as the process's own do.
 */
static bool ctrfw_sk_cgroups(struct sock *sk, u64 *numbers, int max)
{
	struct cgroup *cgroup;
	int level;

	sk = sk_to_full_sk(sk);
	if (!sk || !sk->sk_net_refcnt)
		return false;
	cgroup = sock_cgroup_ptr(&sk->sk_cgrp_data);
	if (!cgroup)
		return false;
	for (level = 1; level <= min(cgroup->level, max); level++)
		numbers[level - 1] = cgroup_id(cgroup_ancestor(cgroup, level));
	return true;
}

bool ctrfw_sender_cgroups(const struct sk_buff *skb, const struct net *net,
			  u64 *numbers, int max)
{
	struct sock *sk = skb->sk;

	return sk && net_eq(sock_net(sk), net) && ctrfw_sk_cgroups(sk, numbers, max);
}

/*
 * What is left of a connection in TIME_WAIT, or whose program has closed it,
 * knows no cgroup; whoever listens there may.
 */
static struct sock *ctrfw_sk_listener(struct net *net, u8 pf, int dif,
				      const struct sock *tw)
{
	if (pf == NFPROTO_IPV4)
		return inet_lookup_listener(net, NULL, 0, tw->sk_daddr, tw->sk_dport,
					    tw->sk_rcv_saddr, htons(tw->sk_num), dif, 0);
#if IS_ENABLED(CONFIG_IPV6)
	return inet6_lookup_listener(net, NULL, 0, &tw->sk_v6_daddr, tw->sk_dport,
				     &tw->sk_v6_rcv_saddr, tw->sk_num, dif, 0);
#else
	return NULL;
#endif
}

/*
 * Of the socket that a packet is for, at PRE_ROUTING or LOCAL_IN: the one that
 * it was given early, or the one that its addresses and ports lead to; if it
 * is an ICMP error, the one that it is about. 1 if there is one, 0 if not, less
 * if that cannot be told.
 */
int ctrfw_receiver_cgroups(const struct ctrfw_sk_lookup *lookup, struct sk_buff *skb,
			   const struct nf_hook_state *state, u64 *numbers, int max)
{
	int transport = ctrfw_transport_offset(skb, state->pf);
	struct sock *sk = skb->sk, *looked_up = NULL;
	bool found;

	/* Before IP has it, that may still be the sender's. */
	if (sk && (!net_eq(sock_net(sk), state->net) ||
		   (state->hook == NF_INET_PRE_ROUTING && !skb_sk_is_prefetched(skb))))
		sk = NULL;
	if (!sk && state->in) {
		/* What is judged is what is delivered: all that the functions read. */
		if (transport < 0 ||
		    !ctrfw_skb_pull(skb, min_t(unsigned int, skb->len, transport + 64)))
			return -ENOMEM;
		if (state->pf == NFPROTO_IPV4)
			looked_up = lookup->find4(state->net, skb, state->in);
		else
			looked_up = lookup->find6(state->net, skb, state->in);
		sk = looked_up;
	}
	if (sk && READ_ONCE(sk->sk_state) == TCP_TIME_WAIT)
		sk = ctrfw_sk_listener(state->net, state->pf, state->in ? state->in->ifindex : 0, sk);
	found = sk && ctrfw_sk_cgroups(sk, numbers, max);
	if (looked_up)
		sock_gen_put(looked_up);
	return found;
}

#else /* CONFIG_SOCK_CGROUP_DATA */

int ctrfw_cgroup_find(const char *path, size_t len, int *level, u64 *number)
{
	return -EOPNOTSUPP;
}

bool ctrfw_sender_cgroups(const struct sk_buff *skb, const struct net *net,
			  u64 *numbers, int max)
{
	return false;
}

int ctrfw_receiver_cgroups(const struct ctrfw_sk_lookup *lookup, struct sk_buff *skb,
			   const struct nf_hook_state *state, u64 *numbers, int max)
{
	return 0;
}

#endif /* CONFIG_SOCK_CGROUP_DATA */

/*
 * So many bytes, and no more pages than that takes; as for kvmalloc(), in one
 * piece if that is easily had. What is very large may take some more, so that
 * it can be mapped in large pieces. Sleeps.
 */
void *ctrfw_pages_alloc(size_t size)
{
	const gfp_t gfp = (GFP_KERNEL & ~__GFP_DIRECT_RECLAIM) | __GFP_NOWARN;
	void *pages = NULL;

	if (size >= 16 * PMD_SIZE)
		return vmalloc_huge(size, GFP_KERNEL | __GFP_NOWARN);
	if (size <= PAGE_SIZE << MAX_PAGE_ORDER)
		pages = alloc_pages_exact(size, gfp);
	if (!pages)
		return __vmalloc(size, GFP_KERNEL | __GFP_NOWARN);
	kmemleak_alloc(pages, size, 1, gfp);
	return pages;
}

void ctrfw_pages_free(void *pages, size_t size)
{
	if (is_vmalloc_addr(pages)) {
		vfree(pages);
	} else {
		kmemleak_free(pages);
		free_pages_exact(pages, size);
	}
}

bool ctrfw_cpu_possible(unsigned int cpu)
{
	return cpu_possible(cpu);
}

unsigned int ctrfw_get_cpu(void)
{
	return get_cpu();
}

void ctrfw_put_cpu(void)
{
	put_cpu();
}

u64 ctrfw_local_clock(void)
{
	return local_clock();
}

static int ctrfw_thread(void *run)
{
	while (!kthread_should_stop()) {
		((void (*)(void))run)();
		/* Who stops it just before has it wait a tick. */
		schedule_timeout_idle(1);
	}
	return 0;
}

struct task_struct *ctrfw_thread_start(void (*run)(void), const char *name)
{
	return kthread_run(ctrfw_thread, run, "%s", name);
}

void ctrfw_thread_stop(struct task_struct *task)
{
	kthread_stop(task);
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

void ctrfw_cond_resched(void)
{
	cond_resched();
}

bool ctrfw_module_get(void)
{
	return try_module_get(THIS_MODULE);
}

void ctrfw_module_put(void)
{
	module_put(THIS_MODULE);
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

bool *ctrfw_net_flag(const struct net *net, unsigned int id)
{
	return net_generic(net, id);
}

int ctrfw_hash_pointer(char *buf, size_t size, const void *ptr)
{
	return scnprintf(buf, size, "%p", ptr);
}
