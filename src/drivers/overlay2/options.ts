import { attributeOptions, type AttributeOptions } from '../attribute-mode.js'
import { mountFlagsOf, type MountOptions } from '../mount-flags.js'

/** The driver's own options (`driverOptions`). */
export interface Overlay2Options extends AttributeOptions, MountOptions {}

interface Resolved extends AttributeOptions {
  /** `MS_*` */
  readonly mountFlags: number
}

/** Throws `TypeError` for what is no option. */
export function overlay2Options(given: Readonly<Record<string, unknown>> = {}): Resolved {
  const { mountFlags, ...rest } = given
  return { ...attributeOptions('overlay2', rest), mountFlags: mountFlagsOf('overlay2', mountFlags) }
}
