import { attributeOptions, type AttributeOptions } from '../attribute-mode.js'
import { mountFlagsOf, type MountOptions } from '../mount-flags.js'

/** Options (`driverOptions`) of the `overlay2` driver. */
export interface Overlay2Options extends AttributeOptions, MountOptions {}

interface Resolved extends AttributeOptions {
  /** `MS_*` flags. */
  readonly mountFlags: number
}

/** Throws `TypeError` for an unknown option or an invalid value. */
export function overlay2Options(given: Readonly<Record<string, unknown>> = {}): Resolved {
  const { mountFlags, ...rest } = given
  return { ...attributeOptions('overlay2', rest), mountFlags: mountFlagsOf('overlay2', mountFlags) }
}
