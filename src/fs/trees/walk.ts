import { compareBytes, joinBytes, type ByteString } from '../bytes.js'
import type { SyncFs, SyncStat } from '../sync-fs.js'

export interface Walked {
  readonly path: ByteString
  readonly stat: SyncStat
}

/**
 * Yields everything below `top`, without `top` itself. Parents come before their children and siblings are in byte
 * order, so `a/b` comes before `a-b`. If `descend` returns false for a directory, the directory is yielded but its
 * children are not.
 */
export function* walk(
  fs: SyncFs,
  top = '' as ByteString,
  descend: (walked: Walked) => boolean = () => true,
): Generator<Walked> {
  for (const name of sortedNames(fs, top)) {
    const path = joinBytes(top, name)
    const walked = { path, stat: fs.lstat(path) }
    yield walked
    if (walked.stat.type === 'directory' && descend(walked)) yield* walk(fs, path, descend)
  }
}

function sortedNames(fs: SyncFs, directory: ByteString): ByteString[] {
  return fs
    .readdir(directory)
    .map(({ name }) => name)
    .toSorted(compareBytes)
}
