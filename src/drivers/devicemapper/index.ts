/**
 * The driver `devicemapper`, for a registry of your own and for the conformance suite.
 * @module
 */
import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { makeDirectory } from '../../durable/make-directory.js'
import { isErrno, StoreError } from '../../errors.js'
import { isPoolOfOurs } from '../../thin/format.js'
import { hasCapability } from '../../sys/capabilities.js'
import { dmKnowsTarget } from '../../sys/dm.js'
import { libcAvailable } from '../../sys/libc.js'
import type { Driver, Engine } from '../driver.js'
import type { DriverFactory, DriverOpenOptions, DriverSupport } from '../factory.js'
import { LayerHolds } from '../layer-holds.js'
import { naiveDiff } from '../naive-diff.js'
import { VolumeDriver } from '../volume-driver.js'
import { DeviceMapperDriver } from './kernel/devicemapper-driver.js'
import { DeviceSet } from './kernel/device-set.js'
import { DeviceMapperLayout } from './layout.js'
import { deviceMapperOptions, type Resolved } from './options.js'
import { openPool, rememberPool } from './kernel/pool-choice.js'
import { OUR_FILE_SYSTEM, ThinVolumes } from './userspace/userspace.js'

const CONTROL = '/dev/mapper/control'

/**
 * Docker's devicemapper: every layer is a thin device, a snapshot of its parent's. Its options are
 * `DeviceMapperOptions`.
 */
export const devicemapper: DriverFactory = {
  name: 'devicemapper',

  async open(settings: DriverOpenOptions): Promise<Driver> {
    const { root, readOnly, driverOptions } = settings
    const options = deviceMapperOptions(driverOptions)
    const layout = new DeviceMapperLayout(join(root, 'devicemapper'))
    if (engineFor(settings, layout) === 'userspace') return openUserspace(settings, options)
    if (!readOnly) await layout.make()
    const pool = await openPool({ root, layout, options, readOnly })
    const lockFile = join(root, 'layerstack', 'devicemapper.lock')
    if (!readOnly) await makeDirectory(dirname(lockFile), { mode: 0o710 })
    const devices = new DeviceSet({ layout, pool, options, lockFile, readOnly })
    const driver = new DeviceMapperDriver({ root, layout, devices, pool, options, readOnly })
    try {
      await driver.open()
      if (!readOnly) await rememberPool(root, pool)
    } catch (error) {
      await driver.cleanup().catch(() => undefined)
      throw error
    }
    return naiveDiff(driver)
  },

  async holdsLayers(root: string): Promise<boolean> {
    return new DeviceMapperLayout(join(root, 'devicemapper')).layers().length > 0
  },

  async supported(): Promise<DriverSupport> {
    const reason = whyNot()
    return {
      engines: [
        { engine: 'kernel', works: reason === undefined, reason },
        { engine: 'userspace', works: true },
      ],
    }
  },
}

/**
 * Returns the engine that made the devices of this root. In a new root, the kernel engine if it works, else the
 * userspace engine.
 */
function engineFor({ engine }: DriverOpenOptions, layout: DeviceMapperLayout): Engine {
  const made = madeBy(layout)
  const reason = engine === 'userspace' || made === 'userspace' ? undefined : whyNot()
  const chosen = engine === 'auto' ? (made ?? (reason === undefined ? 'kernel' : 'userspace')) : engine
  if (made !== undefined && chosen !== made) {
    throw new StoreError('ENGINE_UNSUPPORTED', `the layers of this root were made by the ${made} engine`, {
      hint: `open it with engine '${made}', or make a new root`,
    })
  }
  if (chosen === 'kernel' && reason !== undefined) {
    throw new StoreError('ENGINE_UNSUPPORTED', reason, {
      hint: "as root, load the kernel modules dm-thin-pool and loop; or use engine 'userspace'",
    })
  }
  return chosen
}

function madeBy(layout: DeviceMapperLayout): Engine | undefined {
  const { baseFileSystem } = layout.set()
  if (baseFileSystem === OUR_FILE_SYSTEM) return 'userspace'
  if (layout.names().length === 0) return undefined
  return baseFileSystem === '' && isPoolOfOurs(layout.metadataFile) ? 'userspace' : 'kernel'
}

async function openUserspace({ root, readOnly }: DriverOpenOptions, options: Resolved): Promise<Driver> {
  const layout = new DeviceMapperLayout(join(root, 'devicemapper'), true)
  if (options.pool !== undefined || options.device !== undefined) {
    throw new StoreError(
      'ENGINE_UNSUPPORTED',
      'the userspace engine keeps its pool in files of the root, and cannot use another pool',
      {
        hint: 'leave dm.thinpooldev and dm.directlvm_device out',
      },
    )
  }
  const lockFile = join(root, 'layerstack', 'devicemapper.lock')
  const reserveFile = join(root, 'layerstack', 'devicemapper.reserve')
  const volumes = new ThinVolumes({ layout, lockFile, reserveFile, options, readOnly })
  const holds = new LayerHolds(join(root, 'layerstack', 'holds', 'devicemapper'))
  return naiveDiff(await VolumeDriver.open({ name: 'devicemapper', volumes, holds, readOnly }))
}

function whyNot(): string | undefined {
  const libc = libcAvailable()
  if (!libc.works) return `the kernel engine needs native system calls (${libc.reason})`
  if (!hasCapability('CAP_SYS_ADMIN'))
    return 'thin devices need CAP_SYS_ADMIN, which this process does not have'
  if (!existsSync(CONTROL)) return `${CONTROL} does not exist: this kernel has no device-mapper`
  try {
    return dmKnowsTarget('thin-pool') ? undefined : 'the device-mapper of this kernel has no target thin-pool'
  } catch (error) {
    // The file may exist without a device-mapper behind it.
    if (isErrno(error, 'ENODEV', 'ENXIO')) return `${CONTROL} exists, but this kernel has no device-mapper`
    throw error
  }
}
