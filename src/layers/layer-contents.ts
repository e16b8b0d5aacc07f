import type { Driver } from '../drivers/driver.js'
import { HostFs } from '../fs/host-fs.js'
import type { RawFs } from '../fs/raw-fs.js'

/** The files that a read-only layer brought, and perhaps those of the layers below. */
export interface LayerContents {
  readonly raw: RawFs
  close(): Promise<void>
}

/** Opens a driver's layer for reading by path: its own files where the driver has them apart, else a view. */
export async function openContents(driver: Driver, id: string): Promise<LayerContents> {
  const spec = await driver.contents?.(id)
  if (spec !== undefined) {
    const raw = new HostFs({ ...spec, readOnly: true })
    return { raw, close: async () => raw.close() }
  }
  const { fs } = await driver.get(id)
  return { raw: fs.raw, close: () => driver.put(id) }
}
