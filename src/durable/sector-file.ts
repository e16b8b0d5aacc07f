import { statSync } from 'node:fs'
import { writeFileAtomic } from './atomic-file.js'
import { overwriteFile } from './overwrite-file.js'

const SECTOR = 512

/**
 * Overwrites a file with a short text, padded with spaces to 512 bytes: one sync, and no new name. Once this resolves,
 * the text is on disk. A crash leaves the old text, the new text, or a mixture if the disk does not write a sector
 * atomically. Use it only for content whose damage readers may treat as absence.
 */
export async function writeSectorFile(path: string, text: string): Promise<void> {
  const bytes = Buffer.from(text)
  const sector = Buffer.concat([bytes, Buffer.alloc(Math.max(0, SECTOR - bytes.length), ' ')])
  const size = statSync(path, { throwIfNoEntry: false })?.size
  if (size !== SECTOR || sector.length !== SECTOR) return writeFileAtomic(path, sector)
  return overwriteFile(path, sector)
}
