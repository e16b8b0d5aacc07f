import { keepingOptions, type KeepingOptions } from '../keeping.js'

/** The driver's own options (`driverOptions`). */
export type Overlay2Options = KeepingOptions

/** Throws `TypeError` for what is no option. */
export function overlay2Options(given?: Readonly<Record<string, unknown>>): Overlay2Options {
  return keepingOptions('overlay2', given)
}
