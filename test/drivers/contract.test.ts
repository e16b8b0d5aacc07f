import { describe, it } from 'vitest'
import { driverContract } from './contract.js'
import { contenders, KERNEL, noKernel } from './openers.js'

for (const contender of contenders) driverContract(contender)

if (noKernel === undefined)
  driverContract({ name: 'overlay2 of the kernel', open: KERNEL, depths: [128, 500] })
else describe.skip(`overlay2 of the kernel: ${noKernel}`, () => it('keeps the contract'))
