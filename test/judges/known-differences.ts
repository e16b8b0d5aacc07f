/**
 * Returns which part of a path may differ between a judge and this library: everything or only the time. All other
 * paths must be equal.
 */
export type Known = (path: string) => 'all' | 'time' | undefined

/** Paths that Docker adds to each of its containers, and the directories whose times change with them. */
export const madeByInitLayer: Known = either(
  setOf('.dockerenv', 'etc/hosts', 'etc/hostname', 'etc/resolv.conf', 'etc/mtab', 'dev/console'),
  // The mount point of the image's volume.
  setOf('data'),
  timesOf('dev', 'etc'),
)

/** overlayfs copies up one hard link and leaves the others on the lower file. vfs has copied all of them. */
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

/** Docker's vfs keeps only hard links of regular files when it copies a layer. */
export const linksPartedByDockersVfs: Known = setOf(
  ...['a/fifo', 'b/fifo-hard', 'fifo-again', 'a/sym', 'b/sym-hard', 'sym-again'].map(
    (name) => `opt/links/${name}`,
  ),
)

/** Go's archive/tar, and therefore umoci, drops an xattr with an empty value. */
export const emptyInGo: Known = setOf('opt/base/xattrs/blob')

/** GNU tar records only hard links of regular files and symlinks. Unlike an export, it has an entry for the root. */
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
