/**
 * The driver `vfs`, for a registry of your own and for the conformance suite.
 * @module
 */
import { join } from 'node:path'
import { StoreError } from '../../errors.js'
import { probe } from '../../sys/probe.js'
import type { Driver } from '../driver.js'
import type { DriverFactory, DriverOpenOptions, DriverSupport } from '../factory.js'
import { attributeSettingsOf, attributeRows } from '../attribute-mode.js'
import { naiveDiff } from '../naive-diff.js'
import { VfsLayout } from './layout.js'
import { vfsOptions } from './options.js'
import { VfsDriver } from './vfs-driver.js'

const NO_KERNEL = 'vfs has only a userspace engine'

/** Docker's vfs: every layer is a full copy of its parent. Works everywhere. Its options are `VfsOptions`. */
export const vfs: DriverFactory = {
  name: 'vfs',

  async open({ root, engine, readOnly, driverOptions }: DriverOpenOptions): Promise<Driver> {
    const { attributes } = vfsOptions(driverOptions)
    if (engine === 'kernel') {
      throw new StoreError('ENGINE_UNSUPPORTED', NO_KERNEL, { hint: "use engine 'auto' or 'userspace'" })
    }
    const layout = new VfsLayout(join(root, 'vfs'))
    if (!readOnly) await layout.make()
    const tried = readOnly ? undefined : probe(layout.home)
    const attributeSettings = await attributeSettingsOf({
      root,
      driver: 'vfs',
      holdsLayers: layout.holdsLayers(),
      probe: tried,
      wanted: attributes,
      overlay: false,
    })
    const driver = new VfsDriver({
      root,
      attributeSettings,
      attributeRows: attributeRows(attributeSettings, tried),
      readOnly,
    })
    if (!readOnly) await driver.tidy()
    return naiveDiff(driver)
  },

  async holdsLayers(root: string): Promise<boolean> {
    return new VfsLayout(join(root, 'vfs')).holdsLayers()
  },

  async supported(): Promise<DriverSupport> {
    return {
      engines: [
        { engine: 'kernel', works: false, reason: NO_KERNEL },
        { engine: 'userspace', works: true },
      ],
    }
  },
}
