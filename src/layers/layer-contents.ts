import type { Driver } from '../drivers/driver.js'
import { HostFs } from '../fs/host/host-fs.js'
import type { SyncFs } from '../fs/sync-fs.js'

/** The files that a read-only layer added or changed, and perhaps those of the layers below. */
export interface LayerContents {
  readonly syncFs: SyncFs
  close(): Promise<void>
}

/** Opens a driver layer for reading by path: its own files if the driver keeps them apart, or else a view. */
export async function openContents(driver: Driver, id: string): Promise<LayerContents> {
  const spec = await driver.contents?.(id)
  if (spec !== undefined) {
    const syncFs = new HostFs({ ...spec, readOnly: true })
    return { syncFs, close: async () => syncFs.close() }
  }
  const { fs } = await driver.get(id)
  return { syncFs: fs.syncFs, close: () => driver.put(id) }
}
