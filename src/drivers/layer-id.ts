const LAYER_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,200}$/
/** Drivers use `<id><suffix>` for layers under way and for files beside a layer. */
const RESERVED = /(?:-making|-removing|\.copied|\.attributes)$/

/**
 * Returns the id if it is a safe directory name: letters, digits, `_`, `.` and `-`, the first a letter or a digit, at
 * most 201 in all. Throws `TypeError` for any other id, and for an id with a suffix that drivers reserve: `-making`,
 * `-removing`, `.copied` or `.attributes`.
 *
 * @example
 * ```ts
 * import { checkLayerId } from 'layerstack/drivers'
 *
 * const directory = `/var/lib/store/mine/${checkLayerId('layer1')}`
 * ```
 */
export function checkLayerId(id: string): string {
  if (!LAYER_ID.test(id) || RESERVED.test(id)) throw new TypeError(`invalid layer id: ${JSON.stringify(id)}`)
  return id
}
