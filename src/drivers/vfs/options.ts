import { attributeOptions, type AttributeOptions } from '../attribute-mode.js'

/** The driver's own options (`driverOptions`). */
export type VfsOptions = AttributeOptions

/** Throws `TypeError` for an unknown option or an invalid value. */
export function vfsOptions(given?: Readonly<Record<string, unknown>>): VfsOptions {
  return attributeOptions('vfs', given)
}
