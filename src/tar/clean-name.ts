import type { ByteString } from '../fs/bytes.js'

/**
 * The path of an entry inside the layer: without leading `/` and `./`, without empty components and `.`, with `..` worked
 * out. `''` is the root itself; `undefined` a name that climbs out of it. A leading `/..` climbs, too: it says where its
 * writer wanted to go.
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

/** Most names need nothing done to them. */
function isClean(name: ByteString): boolean {
  return !/^$|^\/|\/\/|\/$|(?:^|\/)\.\.?(?:\/|$)/.test(name)
}
