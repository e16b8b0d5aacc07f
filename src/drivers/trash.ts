import { randomBytes } from 'node:crypto'
import { lstatSync, renameSync } from 'node:fs'
import { join } from 'node:path'
import { namesIn } from '../durable/abandoned.js'
import { isErrno } from '../errors.js'
import { removeSmallTree } from '../jobs/work/remove-tree-job.js'
import { runJob } from '../jobs/run/run-job.js'
import type { Damage } from './driver.js'
import { unmountBelow } from './mounts.js'

const SUFFIX = '-removing'

/** Reports whether a name in a driver's directory belongs to a layer under removal. */
export function isTrash(name: string): boolean {
  return name.endsWith(SUFFIX)
}

/**
 * Removes `<directory>/<name>`. When this resolves, the name is free. Content that cannot be removed stays under
 * another name, and {@link emptyTrash} retries it. A no-op if nothing exists.
 * @param remove deletes one layer of this driver
 */
export async function trash(directory: string, name: string, remove = discard): Promise<void> {
  const path = await setAside(directory, name, remove)
  if (path === undefined) return
  try {
    await remove(path)
  } catch {
    // emptyTrash reports why.
  }
}

/** @returns the new path */
async function setAside(
  directory: string,
  name: string,
  remove: typeof discard,
): Promise<string | undefined> {
  const path = join(directory, name)
  const aside = `${path}${SUFFIX}`
  if (lstatSync(aside, { throwIfNoEntry: false }) !== undefined) {
    // A removal was cut short.
    await remove(aside).catch(() => undefined)
  }
  for (const target of [aside, `${path}-${randomBytes(6).toString('hex')}${SUFFIX}`]) {
    try {
      renameSync(path, target)
      return target
    } catch (error) {
      if (isErrno(error, 'ENOENT')) return undefined
      if (!isErrno(error, 'ENOTEMPTY', 'EEXIST', 'ENOTDIR') || target !== aside) throw error
    }
  }
  return undefined
}

/** Removes a tree. A tree that takes long is removed in a worker thread. */
export async function discard(path: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return
  unmountBelow(path)
  if (!removeSmallTree(path)) await runJob({ kind: 'removeTree', path })
}

/**
 * Clears what earlier removals left.
 * @param names the directory's names, for callers that have already read it
 * @returns what cannot be removed, such as an immutable file
 */
export async function emptyTrash(
  directory: string,
  remove = discard,
  names = namesIn(directory),
): Promise<Damage[]> {
  const stuck: Damage[] = []
  for (const path of names.filter(isTrash).map((name) => join(directory, name))) {
    try {
      await remove(path)
    } catch (error) {
      stuck.push({
        path,
        detail: `left over from a removed layer, and cannot be removed: ${reasonOf(error)}`,
      })
    }
  }
  return stuck
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return cause instanceof Error ? cause.message : String(cause)
}
