// SPDX-License-Identifier: GPL-2.0
/*
 * What one netfilter hook costs: calls nf_hook() in a loop, with bottom halves and interrupts off,
 * on packets that user space hands in. For measuring only; no part of ctrfw.
 *
 * In debugfs, below hook_loop/:
 *   packets   written: the packets, one after the other, PACKET_LEN bytes of IPv4 or IPv6 each, all
 *             of one family; one open-to-close replaces all of them.
 *   run       written: "HOOK IN OUT BATCH BATCHES", where HOOK is local_in or forward, IN and OUT
 *             are devices of the writer's network namespace (the one in which the hooks run), BATCH
 *             is a number of calls and BATCHES how often so many are timed. Each batch goes on
 *             where the last one ended. Read: "refused N", how many calls did not let their packet
 *             pass, "unit ns" or "unit instructions", then the time of each batch, a line each.
 *
 * The clock is the kernel's own in User Mode Linux. Elsewhere it is the processor's cycle counter,
 * which under QEMU's -icount shift=0 counts instructions.
 */
#include <linux/bottom_half.h>
#include <linux/debugfs.h>
#include <linux/ip.h>
#include <linux/ktime.h>
#include <linux/module.h>
#include <linux/mutex.h>
#include <linux/netdevice.h>
#include <linux/netfilter.h>
#include <linux/nsproxy.h>
#include <linux/sched/signal.h>
#include <linux/seq_file.h>
#include <linux/skbuff.h>
#include <linux/uaccess.h>
#include <linux/vmalloc.h>
#include <net/net_namespace.h>

#ifndef CONFIG_UML
#include <asm/msr.h>
#endif

/* A header of either family, that of TCP behind it, and some bytes of data. */
#define PACKET_LEN 64
#define MAX_PACKETS (1U << 20)
#define MAX_BATCH (1U << 20)
#define MAX_BATCHES (1U << 16)
/* Few enough for the first cache, many enough for a header to be at rest when it is read. */
#define SKBS 16

struct packet {
	u8 bytes[PACKET_LEN];
} __aligned(PACKET_LEN);

struct draft {
	struct packet *packets;
	size_t len;
};

struct place {
	struct net *net;
	struct net_device *in;
	struct net_device *out;
};

static DEFINE_MUTEX(lock);
static struct packet *packets;
static u32 packet_count;
static u32 packet_next;
static struct sk_buff *skbs[SKBS];
static u64 *times;
static u32 time_count;
static u64 refused;

static __always_inline u64 clock(void)
{
#ifdef CONFIG_UML
	return ktime_get_ns();
#else
	return rdtsc_ordered();
#endif
}

static const char *unit(void)
{
	return IS_ENABLED(CONFIG_UML) ? "ns" : "instructions";
}

/* Who lets a packet pass gives it back; who drops it has put the reference that is taken here. */
static __always_inline u64 batch(u8 pf, unsigned int hook, const struct place *place, u32 count)
{
	u64 start = clock();
	u32 done = 0;

	while (done < count) {
		u32 some = min(count - done, SKBS);
		u32 i;

		for (i = 0; i < some; i++) {
			memcpy(skbs[i]->data, packets[packet_next].bytes, PACKET_LEN);
			if (++packet_next == packet_count)
				packet_next = 0;
		}
		for (i = 0; i < some; i++) {
			if (nf_hook(pf, hook, place->net, NULL, skbs[i], place->in, place->out,
				    NULL) != 1) {
				skb_get(skbs[i]);
				refused++;
			}
		}
		done += some;
	}
	return clock() - start;
}

/* The family and the hook are constants where nf_hook() is compiled, as they are in the kernel. */
static noinline u64 batch4_local_in(const struct place *place, u32 count)
{
	return batch(NFPROTO_IPV4, NF_INET_LOCAL_IN, place, count);
}

static noinline u64 batch4_forward(const struct place *place, u32 count)
{
	return batch(NFPROTO_IPV4, NF_INET_FORWARD, place, count);
}

static noinline u64 batch6_local_in(const struct place *place, u32 count)
{
	return batch(NFPROTO_IPV6, NF_INET_LOCAL_IN, place, count);
}

static noinline u64 batch6_forward(const struct place *place, u32 count)
{
	return batch(NFPROTO_IPV6, NF_INET_FORWARD, place, count);
}

static int run(const struct place *place, bool forward, u32 count, u32 batches)
{
	bool ipv4 = packets[0].bytes[0] >> 4 == 4;
	unsigned long flags;
	u32 i;

	for (i = 0; i < SKBS; i++) {
		skbs[i]->dev = place->in;
		skbs[i]->protocol = htons(ipv4 ? ETH_P_IP : ETH_P_IPV6);
		skb_set_transport_header(skbs[i], ipv4 ? 20 : 40);
	}
	refused = 0;
	for (time_count = 0; time_count < batches; time_count++) {
		u64 time;

		local_bh_disable();
		local_irq_save(flags);
		if (ipv4)
			time = forward ? batch4_forward(place, count) : batch4_local_in(place, count);
		else
			time = forward ? batch6_forward(place, count) : batch6_local_in(place, count);
		local_irq_restore(flags);
		local_bh_enable();
		times[time_count] = time;
		if (signal_pending(current))
			return -EINTR;
		cond_resched();
	}
	return 0;
}

static ssize_t run_write(struct file *file, const char __user *text, size_t len, loff_t *pos)
{
	struct place place = { .net = current->nsproxy->net_ns };
	char line[128], hook[16], in[IFNAMSIZ], out[IFNAMSIZ];
	u32 count, batches;
	bool forward;
	int err;

	if (len >= sizeof(line))
		return -EINVAL;
	if (copy_from_user(line, text, len))
		return -EFAULT;
	line[len] = 0;
	if (sscanf(line, "%15s %15s %15s %u %u", hook, in, out, &count, &batches) != 5)
		return -EINVAL;
	forward = !strcmp(hook, "forward");
	if ((!forward && strcmp(hook, "local_in")) || !count || count > MAX_BATCH || !batches ||
	    batches > MAX_BATCHES)
		return -EINVAL;

	mutex_lock(&lock);
	place.in = dev_get_by_name(place.net, in);
	place.out = dev_get_by_name(place.net, out);
	if (!place.in || !place.out)
		err = -ENODEV;
	else if (!packets)
		err = -ENODATA;
	else
		err = run(&place, forward, count, batches);
	dev_put(place.in);
	dev_put(place.out);
	mutex_unlock(&lock);
	return err ? err : len;
}

static int run_show(struct seq_file *seq, void *unused)
{
	u32 i;

	mutex_lock(&lock);
	seq_printf(seq, "refused %llu\nunit %s\n", refused, unit());
	for (i = 0; i < time_count; i++)
		seq_printf(seq, "%llu\n", times[i]);
	mutex_unlock(&lock);
	return 0;
}

static int run_open(struct inode *inode, struct file *file)
{
	return single_open(file, run_show, NULL);
}

static const struct file_operations run_fops = {
	.owner = THIS_MODULE,
	.open = run_open,
	.read = seq_read,
	.write = run_write,
	.llseek = seq_lseek,
	.release = single_release,
};

static int packets_open(struct inode *inode, struct file *file)
{
	struct draft *draft = kzalloc(sizeof(*draft), GFP_KERNEL);

	if (!draft)
		return -ENOMEM;
	draft->packets = vmalloc_array(MAX_PACKETS, sizeof(*draft->packets));
	if (!draft->packets) {
		kfree(draft);
		return -ENOMEM;
	}
	file->private_data = draft;
	return 0;
}

static ssize_t packets_write(struct file *file, const char __user *data, size_t len, loff_t *pos)
{
	struct draft *draft = file->private_data;

	if (len > MAX_PACKETS * sizeof(*draft->packets) - draft->len)
		return -ENOSPC;
	if (copy_from_user((u8 *)draft->packets + draft->len, data, len))
		return -EFAULT;
	draft->len += len;
	return len;
}

static int packets_release(struct inode *inode, struct file *file)
{
	struct draft *draft = file->private_data;

	if (draft->len >= PACKET_LEN) {
		mutex_lock(&lock);
		swap(packets, draft->packets);
		packet_count = draft->len / PACKET_LEN;
		packet_next = 0;
		mutex_unlock(&lock);
	}
	vfree(draft->packets);
	kfree(draft);
	return 0;
}

static const struct file_operations packets_fops = {
	.owner = THIS_MODULE,
	.open = packets_open,
	.write = packets_write,
	.release = packets_release,
};

static struct dentry *directory;

static void hook_loop_free(void)
{
	u32 i;

	for (i = 0; i < SKBS; i++) {
		if (skbs[i]) {
			kfree_skb(skbs[i]);
			kfree_skb(skbs[i]);
		}
	}
	vfree(times);
	vfree(packets);
}

static int __init hook_loop_init(void)
{
	u32 i;

	times = vmalloc_array(MAX_BATCHES, sizeof(*times));
	if (!times)
		return -ENOMEM;
	for (i = 0; i < SKBS; i++) {
		skbs[i] = alloc_skb(NET_SKB_PAD + PACKET_LEN, GFP_KERNEL);
		if (!skbs[i]) {
			hook_loop_free();
			return -ENOMEM;
		}
		skb_reserve(skbs[i], NET_SKB_PAD);
		skb_reset_network_header(skbs[i]);
		skb_put(skbs[i], PACKET_LEN);
		skbs[i]->pkt_type = PACKET_HOST;
		skb_get(skbs[i]);
	}
	directory = debugfs_create_dir("hook_loop", NULL);
	debugfs_create_file("packets", 0200, directory, NULL, &packets_fops);
	debugfs_create_file("run", 0600, directory, NULL, &run_fops);
	return 0;
}

static void __exit hook_loop_exit(void)
{
	debugfs_remove(directory);
	hook_loop_free();
}

module_init(hook_loop_init);
module_exit(hook_loop_exit);
MODULE_DESCRIPTION("Measures what a netfilter hook costs");
MODULE_AUTHOR("The ctrfw authors");
MODULE_LICENSE("GPL");
