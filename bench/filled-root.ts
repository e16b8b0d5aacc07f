import { join } from 'node:path'
import type { Driver, Image, Store } from 'layerstack'
import { run } from '../test/support/program.js'
import type { DriverSide } from './workload.js'

/** Loads an archive, imports a tar as `bench/below`, or applies a tar to the driver's `layer0`. */
export type Filling = 'load' | 'import' | 'layer'

/** A store with one image, which another process put there. */
export async function filledStore(
  side: DriverSide,
  what: 'load' | 'import',
  file: string,
): Promise<{ store: Store; image: Image }> {
  const store = await side.openStore(await filledRoot(side, what, file))
  const [image] = await store.images()
  return { store, image: image as Image }
}

/** A driver with one layer, which another process applied. */
export async function filledDriver(side: DriverSide, tar: string): Promise<{ driver: Driver; top: string }> {
  return { driver: await side.openDriver(await filledRoot(side, 'layer', tar)), top: 'layer0' }
}

async function filledRoot(
  { directory, contender }: DriverSide,
  what: Filling,
  file: string,
): Promise<string> {
  const root = join(directory, 'root')
  const { driver, engine, modules } = contender
  const program = join(import.meta.dirname, 'fill-root.js')
  await run(process.execPath, [program, what, file, root, driver, engine, ...modules])
  return root
}
