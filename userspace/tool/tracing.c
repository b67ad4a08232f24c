// SPDX-License-Identifier: MIT
#include "tracing.h"

#include <fcntl.h>
#include <tracefs.h>

const char *tracing_dir(void)
{
	return tracefs_tracing_dir();
}

struct tep_handle *tracing_formats(const char *const *systems)
{
	return tracefs_local_events_system(NULL, systems);
}

struct tracefs_instance *tracing_create(const char *name)
{
	return tracefs_instance_create(name);
}

void tracing_destroy(struct tracefs_instance *buffer)
{
	tracefs_instance_destroy(buffer);
	tracefs_instance_free(buffer);
}

int tracing_write(struct tracefs_instance *buffer, const char *file, const char *text)
{
	return tracefs_instance_file_write(buffer, file, text);
}

char *tracing_read(struct tracefs_instance *buffer, const char *file)
{
	return tracefs_instance_file_read(buffer, file, NULL);
}

int tracing_open(struct tracefs_instance *buffer, const char *file)
{
	return tracefs_instance_file_open(buffer, file, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
}

int tracing_switch(struct tracefs_instance *buffer, const char *system, const char *event, bool on)
{
	return on ? tracefs_event_enable(buffer, system, event) :
		    tracefs_event_disable(buffer, system, event);
}
