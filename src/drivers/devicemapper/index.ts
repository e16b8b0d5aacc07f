import { existsSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { makeDirectory } from '../../durable/make-directory.js'
import { StoreError } from '../../errors.js'
import { hasCapability } from '../../sys/capabilities.js'
import { dmKnowsTarget } from '../../sys/dm.js'
import { libcAvailable } from '../../sys/libc.js'
import type { Driver } from '../driver.js'
import type { DriverFactory, DriverOpenOptions, DriverSupport } from '../factory.js'
import { naiveDiff } from '../naive-diff.js'
import { DeviceMapperDriver } from './devicemapper-driver.js'
import { DeviceSet } from './device-set.js'
import { DeviceMapperLayout } from './layout.js'
import { deviceMapperOptions } from './options.js'
import { openPool, rememberPool } from './pool-choice.js'

const NO_USERSPACE = 'devicemapper has no userspace engine'
const CONTROL = '/dev/mapper/control'

/** Docker's devicemapper: every layer is a thin device, a snapshot of its parent's. */
export const devicemapper: DriverFactory = {
  name: 'devicemapper',

  async open({ root, engine, readOnly, driverOptions }: DriverOpenOptions): Promise<Driver> {
    const options = deviceMapperOptions(driverOptions)
    const reason = engine === 'userspace' ? NO_USERSPACE : whyNot()
    if (reason !== undefined) {
      throw new StoreError('ENGINE_UNSUPPORTED', reason, {
        hint: 'as root, load the kernel modules dm-thin-pool and loop; or use another driver',
      })
    }
    const layout = new DeviceMapperLayout(join(root, 'devicemapper'))
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
        { engine: 'userspace', works: false, reason: NO_USERSPACE },
      ],
    }
  },
}

function whyNot(): string | undefined {
  const libc = libcAvailable()
  if (!libc.works) return `devicemapper is driven by system calls (${libc.reason})`
  if (!hasCapability('CAP_SYS_ADMIN')) return 'thin devices need CAP_SYS_ADMIN, which this process has not'
  if (!existsSync(CONTROL)) return `there is no ${CONTROL}: this kernel has no device-mapper`
  return dmKnowsTarget('thin-pool') ? undefined : 'the kernel’s device-mapper has no thin pools'
}
