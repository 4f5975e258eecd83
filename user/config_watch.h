/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Has a file changed? By its directory, as editors and ConfigMaps put a new file in the old one's
 * place, and by that which its name leads to in the end, where it is a link.
 */
#ifndef CONFIG_WATCH_H
#define CONFIG_WATCH_H

#include <stdbool.h>

struct config_watch;

/* 0 or -ENOMEM. Without inotify only config_watch_changed tells. */
int config_watch_new(const char *path, struct config_watch **ret_watch);
void config_watch_free(struct config_watch *w);
/* Readable when something happened in one of the directories; -1: it never is. */
int config_watch_fd(const struct config_watch *w);
/* It was readable: makes it quiet again. */
void config_watch_clear(struct config_watch *w);
/* The file is another one than at the last call, or was changed, or came or went. */
bool config_watch_changed(struct config_watch *w);

#endif
