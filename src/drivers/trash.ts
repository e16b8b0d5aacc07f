import { lstatSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { namesIn } from '../durable/abandoned.js'
import { isErrno } from '../errors.js'
import { removeSmallTree } from '../jobs/remove-tree.js'
import { runJob } from '../jobs/run-job.js'

const SUFFIX = '-removing'

/** Whether a name in a driver's directory is that of a layer which is being removed. */
export function isTrash(name: string): boolean {
  return name.endsWith(SUFFIX)
}

/**
 * Removes `<directory>/<name>`: it is gone at once, under another name its content after it. A crash in between leaves
 * what {@link emptyTrash} clears. Harmless when there is nothing.
 * @param remove what takes a layer of this driver away
 */
export async function trash(directory: string, name: string, remove = discard): Promise<void> {
  const path = join(directory, `${name}${SUFFIX}`)
  const setAside = () => renameSync(join(directory, name), path)
  try {
    setAside()
  } catch (error) {
    if (!isErrno(error, 'ENOENT')) {
      // A removal that was cut short is in the way.
      await remove(path)
      setAside()
    }
  }
  await remove(path)
}

/** Removes a tree; one that takes its time in a worker thread. */
export async function discard(path: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return
  if (!removeSmallTree(path)) await runJob({ kind: 'removeTree', path })
}

/** Clears what a crash left of layers under removal. `names` are those in the directory, for callers that have read it. */
export async function emptyTrash(
  directory: string,
  remove = discard,
  names = namesIn(directory),
): Promise<void> {
  for (const name of names) {
    if (isTrash(name)) await remove(join(directory, name))
  }
}
