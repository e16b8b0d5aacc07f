import { StoreError } from '../errors.js'
import { writeFileAtomic } from './atomic-file.js'
import { readFileIfThere } from './read-file.js'

/**
 * Checks that the data beside `file` has this format. Writes the file if it is missing, unless `readOnly`. Rejects with
 * `STORE_FOREIGN` for another format, before changing anything.
 */
export async function claimFormat(file: string, format: string, readOnly: boolean): Promise<void> {
  const found = readFileIfThere(file)?.toString('utf8')
  if (found === undefined) {
    if (!readOnly) await writeFileAtomic(file, `${format}\n`)
  } else if (found.trim() !== format) {
    throw new StoreError(
      'STORE_FOREIGN',
      `the store has format ${JSON.stringify(found.trim())}, not ${format}`,
      {
        path: file,
        hint: 'open it with the version of this library that made it, or a later one',
      },
    )
  }
}
