import { compareBytes, joinBytes, type ByteString } from './bytes.js'
import { added, attributesDiffer, compareObjects, withContents, type Comparison } from './compare.js'
import type { RawFs } from './raw-fs.js'

/** The inodes that two trees with shared parts do not have in common, and the way to them. */
export interface WrittenInodes {
  has(inode: bigint): boolean
  /** Names in a directory that lead to such an inode. */
  namesIn(directory: bigint): Iterable<ByteString>
}

/**
 * As `compareTrees`, where it is known which inodes may differ: only what is on the way to them is compared.
 * @param root the inode of the root, and of what is not of these trees
 */
export function compareWritten(written: WrittenInodes, upper: RawFs, lower: RawFs, root: bigint): Comparison {
  return within(written, upper, lower, '' as ByteString, root, root)
}

function* within(
  written: WrittenInodes,
  upper: RawFs,
  lower: RawFs,
  directory: ByteString,
  inode: bigint,
  root: bigint,
): Comparison {
  const names = new Set(written.namesIn(inode))
  if (written.has(inode)) {
    const [here, there] = [namesOf(upper, directory), namesOf(lower, directory)]
    for (const name of here) if (!there.has(name)) names.add(name)
    for (const name of there) if (!here.has(name)) names.add(name)
  }
  for (const name of [...names].toSorted(compareBytes)) {
    yield
    const path = joinBytes(directory, name)
    const [stat, below] = [upper.find(path), lower.find(path)]
    if (stat === undefined) {
      if (below !== undefined) yield { kind: 'delete', path }
    } else if (below === undefined) yield* added(upper, path, 'add')
    else if (stat.type !== 'directory' || below.type !== 'directory' || stat.ino !== below.ino)
      yield* compareObjects(upper, lower, path)
    else if (stat.ino === root) yield* compareObjects(upper, lower, path)
    else {
      const differs = attributesDiffer(upper, lower, path, stat, below)
      const contents = within(written, upper, lower, path, stat.ino, root)
      yield* withContents({ kind: 'modify', path, stat }, differs, contents)
    }
  }
}

function namesOf(fs: RawFs, directory: ByteString): Set<ByteString> {
  return new Set(fs.readdir(directory).map(({ name }) => name))
}
