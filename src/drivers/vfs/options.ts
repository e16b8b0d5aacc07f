import { attributeOptions, type AttributeOptions } from '../attribute-mode.js'

/** Options (`driverOptions`) of the `vfs` driver. */
export type VfsOptions = AttributeOptions

/** Throws `TypeError` for an unknown option or an invalid value. */
export function vfsOptions(given?: Readonly<Record<string, unknown>>): VfsOptions {
  return attributeOptions('vfs', given)
}
