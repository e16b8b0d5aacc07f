/**
 * What of a path a judge shows otherwise than we do, each with its reason: all of it, or its time alone. Of all other
 * paths, everything must agree.
 */
export type Known = (path: string) => 'all' | 'time' | undefined

/** What Docker puts below every container of its own, and the directories whose times that changes. */
export const madeByInitLayer: Known = either(
  setOf('.dockerenv', 'etc/hosts', 'etc/hostname', 'etc/resolv.conf', 'etc/mtab', 'dev/console'),
  // The mount point of the image's volume.
  setOf('data'),
  timesOf('dev', 'etc'),
)

/** Where overlayfs copies a file up, other hard links to the lower file stay behind; vfs has copied all of them. */
export const linksPartedByOverlay: Known = setOf(
  ...[
    'a/one',
    'b/c/four',
    'b/five',
    'a/fifo',
    'b/fifo-hard',
    'fifo-again',
    'a/sym',
    'b/sym-hard',
    'sym-again',
  ].map((name) => `opt/links/${name}`),
  ...['opt/links/git-linked-from-below', 'usr/bin/git'],
)

/** Docker's vfs keeps hard links of regular files alone when it copies a layer. */
export const linksPartedByDockersVfs: Known = setOf(
  ...['a/fifo', 'b/fifo-hard', 'fifo-again', 'a/sym', 'b/sym-hard', 'sym-again'].map(
    (name) => `opt/links/${name}`,
  ),
)

/** Go's tar, and so umoci, takes an extended attribute without a value for none. */
export const emptyInGo: Known = setOf('opt/base/xattrs/blob')

/** GNU tar tells of hard links to regular files and symlinks alone; and it begins with the root, as no export does. */
export const unlikeInGnuTar: Known = setOf('', 'opt/links/a/fifo', 'opt/links/b/fifo-hard')

export function either(...known: readonly Known[]): Known {
  return (path) => known.map((knows) => knows(path)).find((what) => what !== undefined)
}

function setOf(...paths: readonly string[]): Known {
  const set = new Set(paths)
  return (path) => (set.has(path) ? 'all' : undefined)
}

function timesOf(...paths: readonly string[]): Known {
  const set = new Set(paths)
  return (path) => (set.has(path) ? 'time' : undefined)
}
