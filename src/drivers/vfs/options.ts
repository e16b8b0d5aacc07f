import { attributeOptions, type AttributeOptions } from '../attribute-mode.js'

/** The driver's own options (`driverOptions`). */
export type VfsOptions = AttributeOptions

/** Throws `TypeError` for what is no option. */
export function vfsOptions(given?: Readonly<Record<string, unknown>>): VfsOptions {
  return attributeOptions('vfs', given)
}
