const LAYER_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,200}$/
/** Drivers use `<id><suffix>` for layers under way and for files beside a layer. */
const RESERVED = /(?:-making|-removing|\.copied|\.attributes)$/

/** Ids become directory names. Throws `TypeError` for an id that is not a safe directory name. */
export function checkLayerId(id: string): string {
  if (!LAYER_ID.test(id) || RESERVED.test(id)) throw new TypeError(`invalid layer id: ${JSON.stringify(id)}`)
  return id
}
