const LAYER_ID = /^[A-Za-z0-9][A-Za-z0-9_.-]{0,200}$/

/** Ids become directory names. Throws `TypeError` for an id that is not a safe directory name. */
export function checkLayerId(id: string): string {
  if (!LAYER_ID.test(id)) throw new TypeError(`not a layer id: ${JSON.stringify(id)}`)
  return id
}
