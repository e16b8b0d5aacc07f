import { driverContract } from './contract.js'
import { contenders } from './openers.js'

for (const contender of contenders) driverContract(contender)
