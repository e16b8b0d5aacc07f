import type { ByteString } from '../fs/bytes.js'

/**
 * Returns an entry's path inside the layer: without leading `/` and `./`, without empty components and `.`, and with
 * `..` resolved. `''` is the root itself. `undefined` means that the name climbs out of the root. A leading `/..` also
 * climbs out: it shows where its writer wanted to go.
 */
export function cleanName(name: ByteString): ByteString | undefined {
  if (isClean(name)) return name
  const components: string[] = []
  for (const component of name.split('/')) {
    if (component === '' || component === '.') continue
    if (component !== '..') components.push(component)
    else if (components.pop() === undefined) return undefined
  }
  return components.join('/') as ByteString
}

/** Fast path: most names are clean already. */
function isClean(name: ByteString): boolean {
  return !/^$|^\/|\/\/|\/$|(?:^|\/)\.\.?(?:\/|$)/.test(name)
}
