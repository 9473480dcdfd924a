#include "textflag.h"

DATA bias<>+0(SB)/4, $127
GLOBL bias<>(SB), RODATA|NOPTR, $4

// STAY clears in left the bits of 8 rows whose keys are not below the limit in Y4, but for
// those that Y5 keeps.
#define STAY(at, tmp, left) \
	VPCMPGTD at(SI)(AX*1), Y4, tmp; \
	VPOR  Y5, tmp, tmp; \
	VPAND tmp, left, left

// LEAF puts into Y5 the leaves of the first bits of left. The exponent of a power of two is
// the number of its bit; Y8 to Y11 hold the 32 leaves, Y15 is the exponent's bias, Y14 is 0.
#define LEAF(left) \
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
	VBLENDVPS Y4, Y7, Y5, Y5

// SUM adds Y5 to 8 sums.
#define SUM(at) \
	VADDPS at(DI), Y5, Y5; \
	VMOVUPS Y5, at(DI)

// CHOOSE puts leaves into the buffer where left has a bit.
#define CHOOSE(left, at) \
	LEAF(left); \
	VPCMPEQD left, Y14, Y6; \
	VBLENDVPS Y6, at(R11), Y5, Y5; \
	VMOVUPS Y5, at(R11)

// func bitSums(acc, buffer *float32, keys *int32, tests *bitTest, counts *uint32, leaves *float32, parts int)
TEXT ·bitSums(SB), NOSPLIT, $0-56
	MOVQ acc+0(FP), DI
	MOVQ buffer+8(FP), R11
	MOVQ keys+16(FP), SI
	MOVQ tests+24(FP), DX
	MOVQ counts+32(FP), R8
	MOVQ leaves+40(FP), R9
	MOVQ parts+48(FP), R10
	VPBROADCASTD bias<>(SB), Y15
	VPXOR Y14, Y14, Y14

part:
	TESTQ R10, R10
	JZ    done
	VPCMPEQD Y0, Y0, Y0
	VPCMPEQD Y1, Y1, Y1
	VPCMPEQD Y2, Y2, Y2
	VPCMPEQD Y3, Y3, Y3
	MOVL  (R8), CX
	MOVL  CX, BX
	ANDL  $0x3fffffff, CX
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
	BTL  $31, BX
	JCS  several
	LEAF(Y0)
	SUM(0)
	LEAF(Y1)
	SUM(32)
	LEAF(Y2)
	SUM(64)
	LEAF(Y3)
	SUM(96)

next:
	ADDQ $4, R8
	ADDQ $128, R9
	DECQ R10
	JMP  part

several:
	CHOOSE(Y0, 0)
	CHOOSE(Y1, 32)
	CHOOSE(Y2, 64)
	CHOOSE(Y3, 96)
	BTL  $30, BX
	JCC  next
	VMOVUPS (R11), Y5
	SUM(0)
	VMOVUPS 32(R11), Y5
	SUM(32)
	VMOVUPS 64(R11), Y5
	SUM(64)
	VMOVUPS 96(R11), Y5
	SUM(96)
	JMP  next

done:
	VZEROUPPER
	RET
