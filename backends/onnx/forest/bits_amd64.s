#include "textflag.h"

DATA bias<>+0(SB)/4, $127
GLOBL bias<>(SB), RODATA|NOPTR, $4

// STAY clears in left the bits of 8 rows whose keys are not below the limit in Y4, but for
// those that Y5 keeps.
#define STAY(at, tmp, left) \
	VPCMPGTD at(SI)(AX*1), Y4, tmp; \
	VPOR  Y5, tmp, tmp; \
	VPAND tmp, left, left

// LEAF adds to 8 sums the leaves of the first bits of left. The exponent of a power of two
// is the number of its bit; Y8 to Y11 hold the 32 leaves, Y15 is the exponent's bias, Y14
// is 0.
#define LEAF(left, at) \
	VPSUBD left, Y14, Y4; \
	VPAND  Y4, left, Y4; \
	VCVTDQ2PS Y4, Y4; \
	VPSRLD $23, Y4, Y4; \
	VPSUBD Y15, Y4, Y4; \
	VPERMPS Y8, Y4, Y5; \
	VPERMPS Y9, Y4, Y6; \
	VPERMPS Y10, Y4, Y7; \
	VPERMPS Y11, Y4, Y12; \
	VPSLLD $28, Y4, Y13; \
	VPSLLD $27, Y4, Y4; \
	VBLENDVPS Y13, Y6, Y5, Y5; \
	VBLENDVPS Y13, Y12, Y7, Y7; \
	VBLENDVPS Y4, Y7, Y5, Y5; \
	VADDPS at(DI), Y5, Y5; \
	VMOVUPS Y5, at(DI)

// func bitSums(acc *float32, keys *int32, tests *bitTest, counts *uint32, leaves *float32, trees int)
TEXT ·bitSums(SB), NOSPLIT, $0-48
	MOVQ acc+0(FP), DI
	MOVQ keys+8(FP), SI
	MOVQ tests+16(FP), DX
	MOVQ counts+24(FP), R8
	MOVQ leaves+32(FP), R9
	MOVQ trees+40(FP), R10
	VPBROADCASTD bias<>(SB), Y15
	VPXOR Y14, Y14, Y14

tree:
	TESTQ R10, R10
	JZ    done
	VPCMPEQD Y0, Y0, Y0
	VPCMPEQD Y1, Y1, Y1
	VPCMPEQD Y2, Y2, Y2
	VPCMPEQD Y3, Y3, Y3
	MOVL  (R8), CX
	TESTL CX, CX
	JZ    leaves

test:
	VPBROADCASTD (DX), Y4
	VPBROADCASTD 4(DX), Y5
	MOVL 8(DX), AX
	STAY(0, Y6, Y0)
	STAY(32, Y7, Y1)
	STAY(64, Y12, Y2)
	STAY(96, Y13, Y3)
	ADDQ $12, DX
	DECL CX
	JNZ  test

leaves:
	VMOVUPS (R9), Y8
	VMOVUPS 32(R9), Y9
	VMOVUPS 64(R9), Y10
	VMOVUPS 96(R9), Y11
	LEAF(Y0, 0)
	LEAF(Y1, 32)
	LEAF(Y2, 64)
	LEAF(Y3, 96)
	ADDQ $4, R8
	ADDQ $128, R9
	DECQ R10
	JMP  tree

done:
	VZEROUPPER
	RET
