/* SPDX-License-Identifier: Apache-2.0 */
/* What mirror.c (events), mirror_look.c (what is there) and mirror_turn.c (what is left to do)
 * share. */
#ifndef WATCH_MIRROR_IMPL_H
#define WATCH_MIRROR_IMPL_H

#include <sys/stat.h>

#include "base/buf.h"
#include "base/clock.h"
#include "base/log.h"
#include "watch/mirror.h"
#include "watch/mirror_node.h"
#include "watch/roots.h"

#define LEAVING_MAX 64
#define SETTLE_NS   (20 * NS_PER_MS)

/* Its name is gone by a rename; the event of the other half may still come. */
struct leaving {
	struct mnode *node;
	uint64_t mark; /* in the stream of events: it has come by then, or none does */
	int64_t since_ns;
	bool reached;
};

struct mirror {
	struct watch *watch;
	struct mirror_options opt;
	struct roots roots;
	struct mnodes nodes;
	struct buf path, from;
	struct leaving leaving[LEAVING_MAX]; /* oldest first */
	unsigned n_leaving;
	struct list todo;    /* directories to be watched and listed, before anything else */
	struct list lost;    /* what was not listed: gone, or found elsewhere in the same go */
	struct list pending; /* directories for which that failed, or that got no watch */
	struct list due;     /* files to be watched again, by at_ns */
	struct list later;   /* files that could not be watched, by at_ns */
	int64_t pending_ns, pause_ns, roots_ns, flush_ns;
	/* A look at a directory may run ahead of the events: of what it found, events are only
	 * believed if they agree with what is there. Over when all events before the mark are in.
	 */
	uint32_t era, round;
	uint64_t era_mark;
	bool era_open, era_reached;
	bool scanning;    /* in mirror_scan */
	bool forcing;     /* events were lost: watches may be, too */
	bool rescan_due;  /* something is not as it can be */
	bool apart;       /* a directory was taken for another: look at all when it is quiet */
	bool paths_short; /* has been said */
	struct log_limit failed_limit;
	uint64_t rescans;
};

/* An object, as it is there now; look_done closes it. */
struct look {
	int fd; /* O_PATH */
	uint64_t identity, ino;
	enum mnode_type type;
	bool certain; /* no other object has ever had this identity */
	bool shared;  /* it has several names */
};

static inline void look_done(struct look *l)
{
	close_fd(&l->fd);
}

/* name in the directory open as dir_fd. 0 or -errno. */
int look_in(int dir_fd, const char *name, struct look *ret_look);
/* name below parent, which must be there as the mirror has it, else -ESTALE; parent NULL: name is
 * a root. */
int look_below(struct mirror *m, const struct mnode *parent, const char *name,
	       struct look *ret_look);
/* n is there, as the mirror has it: 1, 0, or -errno: cannot be said now. */
int node_is_there(struct mirror *m, const struct mnode *n);
/* It was found by a look that may be ahead of the events, and is still there. */
bool node_is_ahead(struct mirror *m, const struct mnode *n);

enum found_by { FOUND_EVENT, FOUND_MOVED_IN, FOUND_LOOK };

/* Something that the mirror does not know is called name in dir. dir_fd -1: dir is not open. */
void node_found(struct mirror *m, struct mnode *dir, const char *name, bool is_dir, int dir_fd,
		enum found_by by);
/* It and everything below it is not there any more. */
void node_gone(struct mirror *m, struct mnode *top);
/* Tells that it was renamed, and checks that it is the one. known: it was looked at. */
void node_moved(struct mirror *m, struct mnode *n, struct mnode *dir, const char *name, bool known);
void node_set_wd(struct mirror *m, struct mnode *n, int wd);
void node_identify(struct mirror *m, struct mnode *n, const struct look *l);
/* The object called so is known from a place where it is not any more: its node, or NULL. */
struct mnode *renamed_from(struct mirror *m, const struct mnode *dir, const struct look *l);
/* What has just been looked at may be ahead of the events until those of now are in. */
void era_open(struct mirror *m);
/* Gives it a watch, and tells that it was written if it was. r: of the look at it. */
void file_watch(struct mirror *m, struct mnode *n, const struct look *l, int r);
void file_rearm(struct mirror *m, struct mnode *n);
void file_rearm_soon(struct mirror *m, struct mnode *n);
void dir_todo(struct mirror *m, struct mnode *n, bool force);
void dir_pending(struct mirror *m, struct mnode *n);
/* Watches and lists what is to be, and what that adds. */
void dirs_work(struct mirror *m);
void leaving_forget(struct mirror *m, const struct mnode *n);
/* The other half does not come, or is in. It is still there when the mirror was ahead, or after an
 * exchange with something outside. */
void leaving_resolve(struct mirror *m, struct mnode *n);
void roots_look(struct mirror *m);

#endif
