#!/bin/sh
# The first process in User-Mode Linux. The host's files are its root, read-only; what is written goes to /run, in memory,
# or to the shared directory. The scratch directory has the command, and is told how it ended.
export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin

mount -t proc proc /proc
mount -t sysfs sysfs /sys
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -t tmpfs -o size=90% tmpfs /run
[ -e /dev/fd ] || ln -s /proc/self/fd /dev/fd
[ ! -d /etc/docker ] || mount -t tmpfs tmpfs /etc/docker

mkdir -p /run/tmp /run/modules/lib
ln -s /usr/lib/uml/modules /run/modules/lib/modules
for module in dm-thin-pool loop ext4 xfs overlay; do modprobe -d /run/modules "$module"; done

mount -t hostfs hostfs "$UML_SHARED" -o "$UML_SHARED"
{ sh "$UML_SCRATCH/command"; echo $? > "$UML_SCRATCH/status"; } 2>&1 | cat &
# What the command left running has the pipe, too.
while [ ! -s "$UML_SCRATCH/status" ]; do sleep 0.1; done
sleep 0.3
echo o > /proc/sysrq-trigger
sleep 60
