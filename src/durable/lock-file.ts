import { link, readFile, rm, writeFile } from 'node:fs/promises'
import { basename, dirname, join } from 'node:path'
import { isErrno } from '../errors.js'
import { namesIn } from './abandoned.js'
import { isAlive, processMark } from '../sys/process-mark.js'
import { temporaryName } from '../sys/temporary-name.js'

/**
 * A lock for systems without flock(2): a file that names the process which holds it.
 *
 * 1. The file appears with its content, by link(2): nobody reads it half written.
 * 2. Only its maker removes it, or, when the maker is dead, whoever holds the same kind of lock on its removal and has
 *    read under that lock that the maker is dead. So no one takes away a lock that somebody just took over.
 * 3. A lock on a removal whose maker is dead is removed by the first who sees it. Two processes could meet there, if a
 *    third was killed between two system calls.
 * 4. A draft that is gone before it is linked was taken for a dead process' by somebody who tidied up what the lock was
 *    for: that one holds the lock, or held it a moment ago.
 *
 * @returns how to give it up, or `undefined` when another process holds it, or held it a moment ago
 */
export async function tryLockFile(path: string): Promise<(() => Promise<void>) | undefined> {
  if (await make(path)) return () => rm(path, { force: true })
  if (!(await isLeft(path))) return undefined
  const removal = `${path}${REMOVAL}`
  if (!(await make(removal))) {
    if (await isLeft(removal)) await rm(removal, { force: true })
    return undefined
  }
  try {
    if (!(await isLeft(path))) return undefined
    await rm(path, { force: true })
    return (await make(path)) ? () => rm(path, { force: true }) : undefined
  } finally {
    await rm(removal, { force: true })
  }
}

/** Clears lock files in a directory that processes have left. */
export async function clearLockFiles(directory: string): Promise<void> {
  for (const name of namesIn(directory)) {
    const path = join(directory, name)
    if (name.endsWith(`.held${REMOVAL}`) && (await isLeft(path))) await rm(path, { force: true })
    if (name.endsWith('.held') && (await isLeft(path))) await (await tryLockFile(path))?.()
  }
}

const REMOVAL = '.stale'

async function make(path: string): Promise<boolean> {
  const own = join(dirname(path), temporaryName(basename(path)))
  await writeFile(own, processMark(), { flag: 'wx', mode: 0o600 })
  try {
    await link(own, path)
    return true
  } catch (error) {
    if (isErrno(error, 'EEXIST', 'ENOENT')) return false
    throw error
  } finally {
    await rm(own, { force: true })
  }
}

/** There, and its maker is dead. One that was given up meanwhile is nobody's to remove: it may be another's by now. */
async function isLeft(path: string): Promise<boolean> {
  try {
    return !isAlive(await readFile(path, 'utf8'))
  } catch (error) {
    if (isErrno(error, 'ENOENT')) return false
    throw error
  }
}
