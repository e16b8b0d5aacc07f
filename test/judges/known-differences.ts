/**
 * Paths that a judge shows otherwise than we do, each set with its reason. All others must agree.
 */
type Known = (path: string) => boolean

/** What Docker puts below every container of its own, and the directories whose times that changes. */
export const madeByInitLayer: Known = setOf(
  ...['.dockerenv', 'etc/hosts', 'etc/hostname', 'etc/resolv.conf', 'etc/mtab', 'dev/console'],
  ...['', 'dev', 'dev/pts', 'dev/shm', 'etc', 'proc', 'sys'],
  // The mount point of the image's volume.
  'data',
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

export function either(...known: readonly Known[]): Known {
  return (path) => known.some((knows) => knows(path))
}

function setOf(...paths: readonly string[]): Known {
  const set = new Set(paths)
  return (path) => set.has(path)
}
