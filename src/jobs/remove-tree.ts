import { chmodSync, lstatSync, readdirSync, renameSync, rmdirSync, unlinkSync, type Dirent } from 'node:fs'
import { isErrno, storeError } from '../errors.js'
import { gone } from '../fs/remove-tree.js'
import type { Pace } from './pace.js'

/**
 * Removes a tree of the host, names of any bytes in it too. Nothing need be there, and others may remove it at the same
 * time. What is mounted in it is left alone and fails the job. No progress.
 */
export interface RemoveTreeJob {
  readonly kind: 'removeTree'
  readonly path: string
}

export async function removeTreeAt(job: RemoveTreeJob, pace: Pace): Promise<void> {
  try {
    const top = Buffer.from(job.path)
    const stat = lstatSync(top, { throwIfNoEntry: false })
    if (stat === undefined) return
    if (stat.isDirectory()) await removeDirectory(top, { top, device: stat.dev, pace, count: 0 })
    else gone(() => unlinkSync(top))
  } catch (error) {
    throw storeError(error, 'SYSTEM', `could not remove ${job.path}`)
  }
}

/** What is removed faster than a worker thread is told to. */
const FEW = 32
const SMALL = 1 << 20

/** Removes a tree of a few small files at once. False where it is not one, or it is not that simple. */
export function removeSmallTree(path: string): boolean {
  const top = Buffer.from(path)
  const found: { readonly path: Buffer; readonly directory: boolean }[] = []
  let size = 0
  const gather = (each: Buffer, device: number | undefined): boolean => {
    const stat = lstatSync(each, { throwIfNoEntry: false })
    if (stat === undefined) return true
    size += stat.isFile() ? stat.size : 0
    if (found.length === FEW || size > SMALL || (device !== undefined && stat.dev !== device)) return false
    found.push({ path: each, directory: stat.isDirectory() })
    if (!stat.isDirectory()) return true
    const entries = gone(() => entriesOf(each)) ?? []
    return entries.every(({ name }) => gather(Buffer.concat([each, SLASH, name]), stat.dev))
  }
  try {
    if (!gather(top, undefined)) return false
    for (const { path: each, directory } of found.toReversed()) {
      gone(() => (directory ? rmdirSync(each) : unlinkSync(each)))
    }
    return true
  } catch {
    return false
  }
}

interface Removal {
  readonly top: Buffer
  readonly device: number
  readonly pace: Pace
  /** Directories that were moved. */
  count: number
}

async function removeDirectory(directory: Buffer, removal: Removal): Promise<void> {
  for (const entry of gone(() => entriesOf(directory)) ?? []) {
    const turn = removal.pace.breathe()
    if (turn !== undefined) await turn
    const path = Buffer.concat([directory, SLASH, entry.name])
    if (!entry.isDirectory()) gone(() => unlinkSync(path))
    else if (gone(() => lstatSync(path))?.dev !== removal.device) gone(() => rmdirSync(path))
    else await removeDirectory(path.length < FAR ? path : (gone(() => moved(path, removal)) ?? path), removal)
  }
  gone(() => rmdirSync(directory))
}

/** What lies so deep that the system could not reach the names below it is brought up. */
function moved(path: Buffer, removal: Removal): Buffer {
  const place = Buffer.concat([removal.top, Buffer.from(`/far-${process.pid}-${removal.count++}`)])
  renameSync(path, place)
  return place
}

function entriesOf(directory: Buffer): Dirent<Buffer>[] {
  const read = (): Dirent<Buffer>[] =>
    readdirSync(directory, { withFileTypes: true, encoding: 'buffer' }) as unknown as Dirent<Buffer>[]
  try {
    return read()
  } catch (error) {
    if (!isErrno(error, 'EACCES')) throw error
    // Its owner may be kept out too, as by the mode 000 of a kernel's work directory.
    chmodSync(directory, 0o700)
    return read()
  }
}

const SLASH = Buffer.from('/')
/** Linux takes paths of 4095 bytes, and names of 255. */
const FAR = 3800
