import type { Catalog } from '../catalog/catalog.js'
import { check, type CheckReport } from '../catalog/check.js'
import type { CatalogCheckOptions } from '../catalog/repair.js'
import { makeStoreDirectory } from '../durable/make-directory.js'
import { resolveLimits, type Limits } from '../limits.js'
import { checkArchiveInput, type ArchiveInput } from './archive-files.js'
import { openArchive } from './open-archive.js'
import { repairSource } from './repair-source.js'

/** Options of {@link Store.check}. */
export interface CheckOptions extends CatalogCheckOptions {
  /**
   * With `repair`: an archive as `load` takes it. Damaged and missing layers and configs are unpacked from it and
   * replace the damaged ones. Layers and containers on them stay.
   * @default nothing is replaced
   */
  readonly from?: ArchiveInput | undefined
  /** What the archive `from` may ask of this process. @default the defaults of {@link Limits} */
  readonly limits?: Limits | undefined
}

/** Checks a catalog, and repairs it from an archive if the caller gives one. Throws `TypeError` for `from` without `repair`. */
export async function checkStore(catalog: Catalog, options: CheckOptions): Promise<CheckReport> {
  const { from, repair = false, discard = false, signal } = options
  if (!repair && (from !== undefined || discard)) {
    throw new TypeError('check() takes `from` and `discard` only together with `repair: true`')
  }
  if (from === undefined) return check(catalog, options)
  checkArchiveInput(from)
  makeStoreDirectory(catalog.temporary, 0o700)
  const opening = { limits: resolveLimits(options.limits), signal }
  await using files = await openArchive(from, catalog.temporary, opening)
  return await check(catalog, options, await repairSource(files, opening))
}
