import { statSync } from 'node:fs'
import { writeFileAtomic } from './atomic-file.js'
import { overwriteFile } from './overwrite-file.js'

const SECTOR = 512

/**
 * Writes a short text, filled up with spaces, over the one that is there: one sync, and no new name. When this resolves,
 * it is on disk. A crash leaves the old text, the new one, or, where a disk does not write a sector at once, a mixture:
 * for what need not be told apart from nothing.
 */
export async function writeSectorFile(path: string, text: string): Promise<void> {
  const bytes = Buffer.from(text)
  const sector = Buffer.concat([bytes, Buffer.alloc(Math.max(0, SECTOR - bytes.length), ' ')])
  const size = statSync(path, { throwIfNoEntry: false })?.size
  if (size !== SECTOR || sector.length !== SECTOR) return writeFileAtomic(path, sector)
  return overwriteFile(path, sector)
}
