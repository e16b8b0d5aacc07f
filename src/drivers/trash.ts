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

/** Whether a name in a driver's directory is that of a layer which is being removed. */
export function isTrash(name: string): boolean {
  return name.endsWith(SUFFIX)
}

/**
 * Removes `<directory>/<name>`. Resolving means that the name is free; content that cannot be removed stays under another
 * name, for {@link emptyTrash} to try again. Harmless when there is nothing.
 * @param remove takes a layer of this driver away
 */
export async function trash(directory: string, name: string, remove = discard): Promise<void> {
  const path = await setAside(directory, name, remove)
  if (path === undefined) return
  try {
    await remove(path)
  } catch {
    // emptyTrash tells why.
  }
}

/** @returns where it lies now */
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

/** Removes a tree; one that takes its time in a worker thread. */
export async function discard(path: string): Promise<void> {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return
  unmountBelow(path)
  if (!removeSmallTree(path)) await runJob({ kind: 'removeTree', path })
}

/**
 * Clears what earlier removals left.
 * @param names those in the directory, for callers that have read it
 * @returns what cannot be removed, an immutable file for instance
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
      stuck.push({ path, detail: `left of a removed layer, and cannot be removed: ${reasonOf(error)}` })
    }
  }
  return stuck
}

function reasonOf(error: unknown): string {
  const cause = error instanceof Error && error.cause instanceof Error ? error.cause : error
  return cause instanceof Error ? cause.message : String(cause)
}
