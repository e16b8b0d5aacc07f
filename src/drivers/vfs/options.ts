import { keepingOptions, type KeepingOptions } from '../keeping.js'

/** The driver's own options (`driverOptions`). */
export type VfsOptions = KeepingOptions

/** Throws `TypeError` for what is no option. */
export function vfsOptions(given?: Readonly<Record<string, unknown>>): VfsOptions {
  return keepingOptions('vfs', given)
}
