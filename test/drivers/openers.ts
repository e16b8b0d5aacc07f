import type { Driver } from '#layerstack/drivers/driver.js'
import type { DriverFactory } from '#layerstack/drivers/factory.js'
import { overlay2 } from '#layerstack/drivers/overlay2/index.js'
import { vfs } from '#layerstack/drivers/vfs/index.js'
import { hasCapability } from '#layerstack/sys/capabilities.js'
import type { Contender } from './contract.js'

type Settings = Pick<Parameters<DriverFactory['open']>[0], 'engine' | 'driverOptions'>

export function opener(factory: DriverFactory, settings: Settings): (root: string) => Promise<Driver> {
  return (root) => factory.open({ root, readOnly: false, ...settings })
}

export const USERSPACE = opener(overlay2, { engine: 'userspace' })
export const KERNEL = opener(overlay2, { engine: 'kernel' })

/** Why no overlay can be mounted here; undefined where it can. */
export const noKernel = hasCapability('CAP_SYS_ADMIN') ? undefined : 'this process has no CAP_SYS_ADMIN'

const override = { attributes: 'override' } as const

/** Every driver, engine and way of keeping attributes. */
export const contenders: readonly Contender[] = [
  { name: 'vfs', open: opener(vfs, { engine: 'auto' }), depths: [40] },
  {
    name: 'vfs with attributes kept aside',
    open: opener(vfs, { engine: 'auto', driverOptions: override }),
    depths: [],
  },
  { name: 'overlay2 in userspace', open: USERSPACE, depths: [128, 500] },
  {
    name: 'overlay2 in userspace with attributes kept aside',
    open: opener(overlay2, { engine: 'userspace', driverOptions: override }),
    depths: [128],
  },
  { name: 'overlay2 of the kernel', open: KERNEL, depths: [128, 500], reason: noKernel },
]
