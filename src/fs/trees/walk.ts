import { compareBytes, joinBytes, type ByteString } from '../bytes.js'
import type { SyncFs, SyncStat } from '../sync-fs.js'

export interface Walked {
  readonly path: ByteString
  readonly stat: SyncStat
}

/**
 * Everything below `top`, without `top` itself: parents before their children, siblings in byte order, so that `a/b`
 * stands before `a-b`. A directory for which `descend` says no is given, its children are not.
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
