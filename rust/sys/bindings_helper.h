/* SPDX-License-Identifier: GPL-2.0 */
/* The headers that bindgen reads. */
#include <linux/capability.h>
#include <linux/fcntl.h>
#include <linux/fs.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/netfilter_ipv4.h>
#include <linux/poll.h>
#include <linux/proc_fs.h>
#include <linux/random.h>
#include <linux/rcupdate.h>
#include <linux/seq_file.h>
#include <linux/skbuff.h>
#include <linux/timekeeping.h>
#include <net/net_namespace.h>

#include "helpers.h"

static const int CTRFW_NF_IP_PRI_FIRST = NF_IP_PRI_FIRST;
static const unsigned int CTRFW_FMODE_READ = FMODE_READ;
static const unsigned int CTRFW_FMODE_WRITE = FMODE_WRITE;
static const unsigned int CTRFW_POLL_READABLE = EPOLLIN | EPOLLRDNORM;
static const unsigned int CTRFW_POLL_ENDED = EPOLLIN | EPOLLRDNORM | EPOLLHUP;

/* Where fields are that bindgen has under names of its own, or not at all. */
static const size_t CTRFW_SKB_DEV = offsetof(struct sk_buff, dev);
static const size_t CTRFW_SKB_MARK = offsetof(struct sk_buff, mark);
static const size_t CTRFW_SKB_NETWORK_HEADER = offsetof(struct sk_buff, network_header);
static const size_t CTRFW_NETDEV_NAME = offsetof(struct net_device, name);
