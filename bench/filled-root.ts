import { join } from 'node:path'
import type { Driver, Image, Store } from 'layerstack'
import { run } from '../test/support/program.js'
import type { DriverWorkspace } from './workload.js'

/** `load` an archive, `import` a tar as `bench/below`, or apply a tar to the driver's layer `layer0`. */
export type Filling = 'load' | 'import' | 'layer'

/** Opens a store with one image, which another process has created. */
export async function filledStore(
  workspace: DriverWorkspace,
  what: 'load' | 'import',
  file: string,
): Promise<{ store: Store; image: Image }> {
  const store = await workspace.openStore(await filledRoot(workspace, what, file))
  const [image] = await store.images()
  return { store, image: image as Image }
}

/** Opens a driver with one layer, which another process has created. */
export async function filledDriver(
  workspace: DriverWorkspace,
  tar: string,
): Promise<{ driver: Driver; top: string }> {
  return { driver: await workspace.openDriver(await filledRoot(workspace, 'layer', tar)), top: 'layer0' }
}

async function filledRoot(
  { directory, contender }: DriverWorkspace,
  what: Filling,
  file: string,
): Promise<string> {
  const root = join(directory, 'root')
  const { driver, engine, modules } = contender
  const program = join(import.meta.dirname, 'fill-root.js')
  await run(process.execPath, [program, what, file, root, driver, engine, ...modules])
  return root
}
