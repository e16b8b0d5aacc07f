import type { ConformanceOptions } from '#layerstack/conformance/index.js'
import type { Driver, LayerView } from '#layerstack/drivers/driver.js'
import { naiveDiff } from '#layerstack/drivers/naive-diff.js'
import { vfs } from '#layerstack/drivers/vfs/index.js'
import type { SyncFs } from '#layerstack/fs/sync-fs.js'
import { layerFs } from '#layerstack/fs/facade/layer-fs-adapter.js'
import { replaced } from '../support/replaced.js'

/** The methods of a driver, and of the filesystem of its views, that a fault replaces. */
export interface Fault {
  readonly driver?: (whole: Driver) => Partial<Driver>
  readonly raw?: (whole: SyncFs) => Partial<SyncFs>
}

/** vfs with a fault. It has no fast paths, so all work goes through views. */
export function broken({ driver = () => ({}), raw = () => ({}) }: Fault): ConformanceOptions['factory'] {
  return {
    async open(options) {
      const whole = withViews(await vfs.open(options), raw)
      return replaced(whole, driver(whole))
    },
  }
}

function withViews(whole: Driver, raw: NonNullable<Fault['raw']>): Driver {
  const proto = replaced(whole, {
    get: async (id, options): Promise<LayerView> => {
      const view = await whole.get(id, options)
      return { ...view, fs: layerFs(replaced(view.fs.syncFs, raw(view.fs.syncFs))) }
    },
  })
  return naiveDiff(replaced(proto, NO_FAST_PATHS))
}

const NO_FAST_PATHS = {
  applyTarget: undefined,
  diffSource: undefined,
  contents: undefined,
  adopt: undefined,
}
