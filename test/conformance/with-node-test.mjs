import { test } from 'node:test'
import { driverConformance } from 'layerstack/conformance'
import { vfs } from 'layerstack/drivers/vfs'

await driverConformance({ test, factory: vfs, depth: 20 })
