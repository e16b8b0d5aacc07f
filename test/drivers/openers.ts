import type { Driver } from '#layerstack/drivers/driver.js'
import type { DriverFactory } from '#layerstack/drivers/factory.js'
import { overlay2 } from '#layerstack/drivers/overlay2/index.js'

type Settings = Pick<Parameters<DriverFactory['open']>[0], 'engine' | 'driverOptions'>

export function opener(factory: DriverFactory, settings: Settings): (root: string) => Promise<Driver> {
  return (root) => factory.open({ root, readOnly: false, ...settings })
}

export const USERSPACE = opener(overlay2, { engine: 'userspace' })
export const KERNEL = opener(overlay2, { engine: 'kernel' })
