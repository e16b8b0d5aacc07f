import { oddAttributes } from './attributes.js'
import { oddFraming } from './framing.js'
import { oddLinks } from './links.js'
import { oddNames } from './names.js'
import type { OddLayer } from './odd-layer.js'
import { oddParents } from './parents.js'
import { oddSparse } from './sparse.js'
import { oddTypes } from './types.js'
import { oddWhiteouts } from './whiteouts.js'

export type { OddLayer, RefusedLayer } from './odd-layer.js'
export { outlineOf, type OutlineOptions } from './outline.js'
export { refusedLayers } from './refused.js'

/**
 * Contents of real layers, and worse, in images of a few files each. Each has the tree that it must give.
 *
 * @example
 * ```ts
 * import { oddLayers } from 'layerstack/conformance'
 *
 * for (const { name, layers, tree } of oddLayers) console.log(name, layers.length, tree)
 * ```
 */
export const oddLayers: readonly OddLayer[] = [
  ...oddNames,
  ...oddWhiteouts,
  ...oddLinks,
  ...oddParents,
  ...oddTypes,
  ...oddAttributes,
  ...oddSparse,
  ...oddFraming,
]
