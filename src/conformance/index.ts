/**
 * The driver contract as a test suite, for authors of drivers and for tests of copy-on-write behaviour.
 * @module
 */
export { applyEdits, type Edit } from './edit.js'
export {
  oddLayers,
  outlineOf,
  refusedLayers,
  type OddLayer,
  type OutlineOptions,
  type RefusedLayer,
} from './odd-layers/index.js'
export { driverConformance, type ConformanceOptions, type ConformanceReport } from './suite.js'
export { showTree, treeOf, treesDiffer, type Tree, type TreeOptions } from './tree.js'
